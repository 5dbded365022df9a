"""The implicit gradient: a worked case, and a quadratic problem whose solution is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from defenses.kernels.hypergradient import implicit_gradients


def test_worked() -> None:
    for steps, rate in ((1, 0.1), (5, 0.1), (3, 0.5)):
        w = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
        p = torch.tensor(1.0, dtype=torch.float64)

        def inner(q: Tensor, w: Tensor = w) -> Tensor:
            return (q - w).square() / 2

        (found,) = implicit_gradients(inner, p, p.clone(), [w], steps, rate)
        assert float(found) == pytest.approx(1 - (1 - rate) ** steps)


def test_it_converges_to_the_true_gradient_of_a_quadratic_problem() -> None:
    """inner: p'Ap/2 - p'Bw, solved by p = A^-1 B w;  outer: |p - c|^2 / 2.  Then d outer / dw = B'A^-1 (p - c)."""
    g = torch.Generator().manual_seed(0)
    root = torch.randn(4, 4, generator=g, dtype=torch.float64)
    a, b = root @ root.T / 4 + torch.eye(4, dtype=torch.float64), torch.randn(4, 3, generator=g, dtype=torch.float64)
    w = torch.randn(3, generator=g, dtype=torch.float64, requires_grad=True)
    c = torch.randn(4, generator=g, dtype=torch.float64)
    p = torch.linalg.solve(a, b @ w.detach())

    def inner(q: Tensor) -> Tensor:
        return q @ a @ q / 2 - q @ (b @ w)

    (found,) = implicit_gradients(inner, p, p - c, [w], 400, 0.1)
    torch.testing.assert_close(found, b.T @ torch.linalg.solve(a, p - c), rtol=1e-6, atol=1e-8)


def test_parameters_that_the_inner_problem_ignores_get_zeros() -> None:
    w, other = torch.ones(2, requires_grad=True), torch.ones(3, requires_grad=True)
    found = implicit_gradients(lambda q: (q - w).square().sum(), torch.ones(2), torch.ones(2), [w, other], 2, 0.1)
    assert torch.equal(found[1], torch.zeros(3))
    assert w.grad is None
