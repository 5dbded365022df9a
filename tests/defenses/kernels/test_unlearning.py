"""Guided unlearning's losses by hand, by a slow reference, and where they could break."""

from __future__ import annotations

import math

import pytest
import torch

from defenses.kernels.unlearning import log_likelihood, softened_divergence


def slow_likelihood(logits: list[list[float]], labels: list[int], epsilon: float) -> float:
    total = 0.0
    for row, label in zip(logits, labels, strict=True):
        weights = [math.exp(value - max(row)) for value in row]
        total += math.log(weights[label] / sum(weights) + epsilon)
    return total / len(labels)


def slow_divergence(student: list[list[float]], teacher: list[list[float]], t: float) -> float:
    def shares(row: list[float]) -> list[float]:
        weights = [math.exp((value - max(row)) / t) for value in row]
        return [weight / sum(weights) for weight in weights]

    pairs = [(shares(a), shares(b)) for a, b in zip(student, teacher, strict=True)]
    return t * t * sum(p * math.log(p / q) for s, g in pairs for q, p in zip(s, g, strict=True)) / len(pairs)


def test_worked_numbers() -> None:
    even = torch.zeros(1, 2)
    assert float(log_likelihood(even, torch.tensor([0]))) == pytest.approx(math.log(0.500001), abs=1e-6)
    sure = torch.tensor([[0.0, 100.0]])
    assert float(log_likelihood(sure, torch.tensor([0]))) == pytest.approx(math.log(1e-6), abs=1e-4)
    cosines = torch.full((1, 10), 0.25).index_fill(1, torch.tensor([3]), 0.35)
    assert float((cosines / 3.0).softmax(1).max()) == pytest.approx(0.103, abs=5e-4), (
        "raw cosines teach next to nothing"
    )
    student = torch.tensor([[3.0, 0.0]])
    p, q = 0.5, [math.e / (1 + math.e), 1 / (1 + math.e)]
    by_hand = 9.0 * (p * math.log(p / q[0]) + p * math.log(p / q[1]))
    assert float(softened_divergence(student, torch.zeros(1, 2))) == pytest.approx(by_hand, rel=1e-5)


@pytest.mark.parametrize("n", [1, 2, 3, 17])
def test_against_a_slow_reference(n: int) -> None:
    g = torch.Generator().manual_seed(n)
    logits, teacher = (3.0 * torch.randn(n, 5, generator=g, dtype=torch.float64) for _ in range(2))
    labels = torch.randint(0, 5, (n,), generator=g)
    assert float(log_likelihood(logits, labels)) == pytest.approx(
        slow_likelihood(logits.tolist(), labels.tolist(), 1e-6), rel=1e-9
    )
    for t in (1.0, 3.0):
        assert float(softened_divergence(logits, teacher, t)) == pytest.approx(
            slow_divergence(logits.tolist(), teacher.tolist(), t), rel=1e-9
        )


def test_the_order_of_samples_is_irrelevant_and_equal_answers_cost_nothing() -> None:
    g = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(8, 4, generator=g, dtype=torch.float64), torch.arange(8) % 4
    assert float(log_likelihood(logits, labels)) == pytest.approx(float(log_likelihood(logits.flip(0), labels.flip(0))))
    assert float(softened_divergence(logits, logits)) == pytest.approx(0.0, abs=1e-12)


def test_a_step_down_lowers_the_labels_likelihood() -> None:
    logits = torch.tensor([[2.0, 0.0, 1.0]], requires_grad=True)
    label = torch.tensor([0])
    log_likelihood(logits, label).backward()
    assert logits.grad is not None
    moved = logits.detach() - 0.1 * logits.grad
    assert float(moved.softmax(1)[0, 0]) < float(logits.detach().softmax(1)[0, 0])


def test_huge_logits_and_a_teacher_of_which_nothing_is_known() -> None:
    huge = torch.tensor([[1e30, 0.0]], requires_grad=True)
    value = log_likelihood(huge, torch.tensor([1])) + softened_divergence(huge, torch.zeros(1, 2))
    value.backward()
    assert bool(torch.isfinite(log_likelihood(huge, torch.tensor([1]))))
    assert huge.grad is not None
    assert bool(torch.isfinite(huge.grad).all())
    student = torch.tensor([[1.0, 0.0]])
    for broken in (float("nan"), float("inf")):
        teacher = torch.tensor([[broken, 0.0]])
        assert torch.equal(softened_divergence(student, teacher), softened_divergence(student, torch.zeros(1, 2)))
