"""Losses of CLIP-Fed's server phase: worked numbers of Eqs. 3 to 6, directions and blocked gradients."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from defenses.kernels.prototypes import class_means, make_projection, prototype_loss, transfer_loss

Z = torch.tensor([[1.0, 0.0]])
PROTOTYPES = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
LABEL = torch.tensor([0])


def random_case(seed: int = 0, n: int = 5, classes: int = 4, e: int = 6) -> tuple[torch.Tensor, ...]:
    g = torch.Generator().manual_seed(seed)
    z, positives, prototypes = (torch.randn(k, e, generator=g, dtype=torch.float64) for k in (n, n, classes))
    return z, positives, prototypes, torch.randint(0, classes, (n,), generator=g)


def test_worked_value_leaves_out_the_positive_class() -> None:
    loss = prototype_loss(Z, Z, PROTOTYPES, LABEL, 0.5)
    assert loss.tolist() == pytest.approx([-1.87307], abs=1e-5)
    with_positive = -2.0 + torch.logsumexp(torch.tensor([2.0, 0.0, -2.0]), 0)
    assert float(with_positive) == pytest.approx(0.14293, abs=1e-5)


def test_agrees_with_a_loop() -> None:
    z, positives, prototypes, labels = random_case()
    for i, value in enumerate(prototype_loss(z, positives, prototypes, labels, 0.3).tolist()):
        cos = lambda a, b: float(a @ b) / (float(a.norm()) * float(b.norm()))  # noqa: E731
        others = math.fsum(math.exp(cos(z[i], prototypes[k]) / 0.3) for k in range(4) if k != int(labels[i]))
        assert value == pytest.approx(-cos(z[i], positives[i]) / 0.3 + math.log(others))


@pytest.mark.parametrize("tau", [0.05, 0.1, 0.5])
def test_the_floor_is_reached_when_all_others_are_opposite(tau: float) -> None:
    z = torch.tensor([[0.0, 2.0]], dtype=torch.float64)
    prototypes = torch.tensor([[5.0, 5.0], [0.0, -1.0], [0.0, -3.0]], dtype=torch.float64)
    loss = float(prototype_loss(z, z, prototypes, LABEL, tau))
    assert loss == pytest.approx(-2 / tau + math.log(2))


def test_gradient_pulls_to_the_positive_and_away_from_the_others_by_finite_differences() -> None:
    z, positives, prototypes, labels = random_case(1)
    z.requires_grad_(True)
    (gradient,) = torch.autograd.grad(prototype_loss(z, positives, prototypes, labels, 0.5).sum(), z)
    step = 1e-6
    numeric = torch.zeros_like(gradient)
    with torch.no_grad():
        for index in range(z.numel()):
            bump = torch.zeros(z.numel(), dtype=z.dtype)
            bump[index] = step
            up = prototype_loss(z + bump.view_as(z), positives, prototypes, labels, 0.5).sum()
            down = prototype_loss(z - bump.view_as(z), positives, prototypes, labels, 0.5).sum()
            numeric.view(-1)[index] = (up - down) / (2 * step)
    torch.testing.assert_close(gradient, numeric, rtol=1e-6, atol=1e-8)


def test_a_descent_step_raises_the_positive_cosine_and_lowers_the_other() -> None:
    z = torch.tensor([[1.0, 1.0, 1.0]], requires_grad=True)
    own, other = torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([0.0, 1.0, 0.0])
    prototypes = torch.stack([own[0], other])
    (gradient,) = torch.autograd.grad(prototype_loss(z, own, prototypes, LABEL, 0.5).sum(), z)
    z = z.detach()
    moved = z - 0.01 * gradient
    assert float(F.cosine_similarity(moved, own)) > float(F.cosine_similarity(z, own))
    assert float(F.cosine_similarity(moved, other[None])) < float(F.cosine_similarity(z, other[None]))


def test_only_directions_matter() -> None:
    z, positives, prototypes, labels = random_case(2)
    plain = prototype_loss(z, positives, prototypes, labels, 0.1)
    scaled = prototype_loss(z * torch.rand(5, 1).double().add(0.1) * 50, positives * 3, prototypes * 0.2, labels, 0.1)
    torch.testing.assert_close(plain, scaled)


def test_no_gradient_reaches_prototypes_or_positives() -> None:
    z, positives, prototypes, labels = random_case(3)
    for tensor in (z, positives, prototypes):
        tensor.requires_grad_(True)
    prototype_loss(z, positives, prototypes, labels, 0.1).sum().backward()
    assert z.grad is not None
    assert positives.grad is None
    assert prototypes.grad is None


def test_one_class_raises() -> None:
    with pytest.raises(ValueError, match="at least 2 classes"):
        prototype_loss(Z, Z, PROTOTYPES[:1], LABEL, 0.5)
    with pytest.raises(ValueError, match="at least 2 classes"):
        prototype_loss(Z, Z, PROTOTYPES, LABEL, 0.5, torch.tensor([True, False, False]))


def test_absent_classes_are_no_negatives() -> None:
    present = torch.tensor([True, False, True])
    loss = prototype_loss(Z, Z, PROTOTYPES, LABEL, 0.5, present)
    assert loss.tolist() == pytest.approx([-4.0])


def test_a_zero_feature_is_finite_in_value_and_gradient() -> None:
    z = torch.zeros(1, 2, requires_grad=True)
    loss = prototype_loss(z, Z, PROTOTYPES, LABEL, 0.5)
    (gradient,) = torch.autograd.grad(loss.sum(), z)
    assert loss.tolist() == pytest.approx([math.log(2)])
    assert bool(torch.isfinite(gradient).all())


def test_class_means() -> None:
    rows = torch.tensor([[1.0, 1.0], [3.0, 5.0], [7.0, 7.0]])
    means, present = class_means(rows, torch.tensor([2, 2, 0]), 4)
    assert means.tolist() == [[7.0, 7.0], [0.0, 0.0], [2.0, 3.0], [0.0, 0.0]]
    assert present.tolist() == [True, False, True, False]


def test_divergence_has_the_teacher_first() -> None:
    student, teacher = torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0]])
    assert float(transfer_loss(student, teacher)) == pytest.approx(0.08261, abs=1e-5)
    assert float(transfer_loss(teacher, student)) == pytest.approx(0.06713, abs=1e-5)


def test_temperature_divides_logits_and_multiplies_the_loss_by_its_square() -> None:
    student, teacher = torch.tensor([[6.0, 0.0]]), torch.tensor([[3.0, 0.0]])
    assert float(transfer_loss(student, teacher, 3.0)) == pytest.approx(9 * 0.08261, abs=1e-4)


def test_divergence_is_the_batch_mean_and_zero_for_equal_models() -> None:
    g = torch.Generator().manual_seed(0)
    student, teacher = 30 * torch.randn(7, 5, generator=g), 30 * torch.randn(7, 5, generator=g)
    each = [float(transfer_loss(s[None], t[None])) for s, t in zip(student, teacher, strict=True)]
    assert float(transfer_loss(student, teacher)) == pytest.approx(sum(each) / 7)
    assert float(transfer_loss(student, student)) == pytest.approx(0.0, abs=1e-6)


def test_a_certain_teacher_gives_finite_numbers() -> None:
    teacher, student = torch.tensor([[1000.0, 0.0]]), torch.tensor([[0.0, 1000.0]], requires_grad=True)
    loss = transfer_loss(student, teacher)
    (gradient,) = torch.autograd.grad(loss, student)
    assert float(loss.detach()) == pytest.approx(1000.0)
    assert bool(torch.isfinite(gradient).all())


def test_no_gradient_reaches_the_teacher() -> None:
    student, teacher = torch.zeros(1, 2, requires_grad=True), torch.ones(1, 2, requires_grad=True)
    transfer_loss(student, teacher).backward()
    assert student.grad is not None
    assert teacher.grad is None


def test_projections() -> None:
    before = torch.get_rng_state()
    linear = make_projection("linear", 20, 8, torch.Generator().manual_seed(0))
    assert linear is not None
    assert linear.bias.tolist() == [0.0] * 8
    bound = math.sqrt(6 / 28)
    assert float(linear.weight.detach().abs().max()) <= bound
    assert float(linear.weight.detach().std()) == pytest.approx(bound / math.sqrt(3), rel=0.15)
    frozen = make_projection("frozen-orthogonal", 20, 8, torch.Generator().manual_seed(0))
    assert frozen is not None
    assert frozen.bias is None
    assert not frozen.weight.requires_grad
    torch.testing.assert_close(frozen.weight @ frozen.weight.T, torch.eye(8), rtol=0, atol=1e-5)
    assert make_projection("identity", 8, 8, torch.Generator()) is None
    with pytest.raises(ValueError, match="features have 20, the guide 8"):
        make_projection("identity", 20, 8, torch.Generator())
    assert torch.equal(before, torch.get_rng_state())
