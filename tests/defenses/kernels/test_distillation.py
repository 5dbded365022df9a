"""Distillation's losses against worked numbers and a slow float64 reference."""

from __future__ import annotations

import math

import pytest
import torch

from defenses.kernels.distillation import distillation_loss, label_loss, unlearning_loss


def reference(student: list[float], teacher: list[float], label: int, alpha: float, tau: float) -> float:
    """Eq. 1 of one sample, written out."""

    def softmax(z: list[float]) -> list[float]:
        top = max(z)
        powers = [math.exp(v - top) for v in z]
        return [p / sum(powers) for p in powers]

    p, q = softmax([v / tau for v in teacher]), softmax([v / tau for v in student])
    divergence = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)
    entropy = 0.0 if label == -1 else -math.log(softmax(student)[label])
    return alpha * entropy + (1 - alpha) * tau**2 * divergence


def test_worked_numbers() -> None:
    student, teacher, label = torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0]]), torch.tensor([0])
    assert float(label_loss(student, label)) == pytest.approx(0.12693, abs=1e-5)
    assert float(distillation_loss(student, teacher, label, 0.0)) == pytest.approx(0.08261, abs=1e-5)
    assert float(distillation_loss(student, teacher, label, 0.2)) == pytest.approx(0.09147, abs=1e-5)
    printed_order = float(distillation_loss(teacher, student, label, 0.0))
    assert printed_order == pytest.approx(0.06713, abs=1e-5), "the paper's formula has the student first"
    assert 0.2 * 0.12693 + 0.8 * printed_order == pytest.approx(0.07909, abs=1e-5)


@pytest.mark.parametrize("tau", [0.5, 1.0, 5.0])
@pytest.mark.parametrize("alpha", [0.0, 0.2, 1.0])
def test_it_is_the_written_out_sum(alpha: float, tau: float) -> None:
    rng = torch.Generator().manual_seed(3)
    student, teacher = 3 * torch.randn(2, 20, 5, generator=rng, dtype=torch.float64)
    labels = torch.randint(-1, 5, (20,), generator=rng)
    found = distillation_loss(student, teacher, labels, alpha, tau)
    expected = [
        reference(s, t, y, alpha, tau)
        for s, t, y in zip(student.tolist(), teacher.tolist(), labels.tolist(), strict=True)
    ]
    assert found.tolist() == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_a_student_like_its_teacher_has_nothing_to_learn_without_labels() -> None:
    logits = torch.randn(7, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
    distillation_loss(logits, logits.detach().clone(), torch.zeros(7, dtype=torch.int64), 0.0).sum().backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert float(logits.grad.abs().max()) < 1e-7


def test_no_gradient_reaches_the_teacher() -> None:
    teacher = torch.randn(4, 3).requires_grad_()
    student = torch.randn(4, 3).requires_grad_()
    distillation_loss(student, teacher, torch.tensor([0, 1, 2, -1])).sum().backward()  # type: ignore[no-untyped-call]
    assert teacher.grad is None


def test_unlearning_makes_a_label_unlikely() -> None:
    logits = torch.tensor([[2.0, 0.0], [-40.0, 40.0], [60.0, -60.0]], dtype=torch.float64).requires_grad_()
    losses = unlearning_loss(logits, torch.tensor([0, 0, 0]))
    assert losses.tolist() == pytest.approx([-math.log(1 - 1 / (1 + math.exp(-2))), 0.0, 120.0], abs=1e-9)
    losses.sum().backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert float(logits.grad[0, 0]) > 0, "a step against the gradient lowers p(y)"
    assert bool(torch.isfinite(logits.grad).all())


def test_samples_without_a_label_are_not_unlearned() -> None:
    assert unlearning_loss(torch.randn(2, 3), torch.tensor([-1, -1])).tolist() == [0.0, 0.0]


def test_huge_logits_stay_finite() -> None:
    huge = torch.tensor([[1e30, -1e30], [-1e30, 1e30]])
    assert bool(torch.isfinite(distillation_loss(huge, huge, torch.tensor([0, 1]))).all())
