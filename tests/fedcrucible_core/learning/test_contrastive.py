"""Supervised contrastive loss and the two-step local training."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fedcrucible_core.config.sections import TrainingSection
from fedcrucible_core.learning.contrastive import ContrastiveTraining, supervised_contrastive
from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.models import ResNet8, SplitModel
from fedcrucible_core.learning.training import train
from fedcrucible_core.learning.vector import flatten_buffers, flatten_parameters, parameter_slots

INFO = DataInfo("grey", tuple("abc"), (1, 12, 12), (0.3,), (0.4,))
SETTINGS = TrainingSection(local_epochs=1, batch_size=8, lr=0.05, momentum=0.9)


def slow(features: np.ndarray, labels: list[int], t: float) -> float:
    z = [f / np.linalg.norm(f) for f in features]
    losses = []
    for i in range(len(z)):
        positives = [p for p in range(len(z)) if p != i and labels[p] == labels[i]]
        if not positives:
            continue
        below = sum(math.exp(z[i] @ z[a] / t) for a in range(len(z)) if a != i)
        losses.append(-sum(math.log(math.exp(z[i] @ z[p] / t) / below) for p in positives) / len(positives))
    return sum(losses) / len(losses)


def model() -> SplitModel:
    return ResNet8(width=4).build(INFO, 1)


def data(n: int = 30, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Three classes that differ in where they are bright."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 3
    images = 0.2 * torch.rand(n, *INFO.shape, generator=g)
    for i, label in enumerate(labels.tolist()):
        images[i, :, 4 * label : 4 * label + 4] += 0.7
    return images, labels


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_the_loss_is_that_of_the_formula(temperature: float) -> None:
    features = torch.randn(9, 4, generator=generator())
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 3])  # the last row has no positive and is left out
    got = float(supervised_contrastive(features, labels, temperature))
    assert got == pytest.approx(slow(features.double().numpy(), labels.tolist(), temperature), rel=1e-5)


def test_worked_loss() -> None:
    """Two classes on opposite ends, two views each, t = 1: ln(e + 2/e) - 1."""
    features = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [2.0, 0.0], [-3.0, 0.0]])
    expected = math.log(math.e + 2 / math.e) - 1
    assert float(supervised_contrastive(features, torch.tensor([0, 1, 0, 1]), 1.0)) == pytest.approx(expected)


def test_two_views_of_one_image_cost_nothing() -> None:
    assert float(supervised_contrastive(torch.randn(2, 4), torch.zeros(2, dtype=torch.int64), 0.07)) == 0.0


def test_the_gradient_pulls_classes_together() -> None:
    features = torch.randn(12, 6, generator=generator(1), requires_grad=True)
    labels = torch.arange(12) % 3
    loss = supervised_contrastive(features, labels, 0.2)
    loss.backward()
    assert features.grad is not None
    moved = (features - 0.1 * features.grad).detach()
    assert float(supervised_contrastive(moved, labels, 0.2)) < float(loss)


def test_the_extractor_learns_by_contrast_and_the_classifier_by_its_features() -> None:
    local, (images, labels) = model(), data(60)
    training = ContrastiveTraining(0.07, 128, 8)
    for seed in range(4):
        loss = training(local, images, labels, SETTINGS, generator(seed))
    with torch.no_grad():
        accuracy = float((local(images).argmax(1) == labels).double().mean())
    assert accuracy > 0.9
    assert loss < 0.6
    assert not local.training


def test_the_extractor_sees_no_cross_entropy() -> None:
    """Other classifier weights to begin with leave the trained extractor as it is."""
    first, second, (images, labels) = model(), model(), data()
    with torch.no_grad():
        second.classifier.weight.mul_(-3.0)
    for local in (first, second):
        ContrastiveTraining(0.07, 16, 1)(local, images, labels, SETTINGS, generator())
    start = next(s.start for s in parameter_slots(first) if s.name.startswith("classifier"))
    ours, theirs = flatten_parameters(first), flatten_parameters(second)
    assert torch.equal(ours[:start], theirs[:start])
    assert torch.equal(flatten_buffers(first), flatten_buffers(second))
    assert not torch.equal(ours[start:], theirs[start:])


def test_the_classifiers_epoch_leaves_the_extractor_and_its_statistics() -> None:
    images, labels = data()
    short, long = model(), model()
    ContrastiveTraining(0.07, 16, 1)(short, images, labels, SETTINGS, generator())
    ContrastiveTraining(0.07, 16, 5)(long, images, labels, SETTINGS, generator())
    assert all(torch.equal(a, b) for a, b in zip(short.features.parameters(), long.features.parameters(), strict=True))
    assert torch.equal(flatten_buffers(short), flatten_buffers(long))


def test_one_seed_one_result_and_the_global_generator_is_untouched() -> None:
    images, labels = data()
    before, results = torch.get_rng_state(), []
    for seed in (0, 0, 1):
        local = model()
        ContrastiveTraining(0.07, 16, 1)(local, images, labels, SETTINGS, generator(seed))
        results.append(flatten_parameters(local))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_the_head_is_not_part_of_the_model() -> None:
    local, (images, labels) = model(), data()
    names = [name for name, _ in local.named_parameters()]
    ContrastiveTraining(0.07, 128, 1)(local, images, labels, SETTINGS, generator())
    assert [name for name, _ in local.named_parameters()] == names


def test_a_client_with_one_image_trains() -> None:
    local, (images, labels) = model(), data(1)
    loss = ContrastiveTraining(0.07, 16, 1)(local, images, labels, SETTINGS, generator())
    assert math.isfinite(loss)
    assert bool(torch.isfinite(flatten_parameters(local)).all())


def test_an_objective_takes_the_place_of_cross_entropy() -> None:
    """The plain loop is what it was, and with its own loss handed in it computes the same."""
    images, labels = data()
    plain, handed = model(), model()
    first = train(plain, images, labels, SETTINGS, generator())
    second = train(
        handed, images, labels, SETTINGS, generator(),
        objective=lambda x, y: torch.nn.functional.cross_entropy(handed(x), y),
    )  # fmt: skip
    assert first == second
    assert torch.equal(flatten_parameters(plain), flatten_parameters(handed))
