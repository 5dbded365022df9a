"""Compact L-BFGS: products of an approximate Hessian with vectors, from inner products alone."""

from __future__ import annotations

import torch
from torch import Tensor

RANK_TOLERANCE = 1e-10
"""Singular values below this share of the largest one count as zero: the middle matrix may be singular."""


def hessian_coefficients(steps: Tensor, changes: Tensor, directions: Tensor, inner: Tensor) -> Tensor:
    """Write B v as a combination of known rows, for several directions v.

    Byrd, Nocedal, Schnabel 1994, theorem 2.3: with steps S = [s_1 .. s_p] and gradient changes Y = [y_1 .. y_p], oldest
    first, p BFGS updates of sigma * I, sigma = y_p.s_p / s_p.s_p, are

        B = sigma I - [sigma S, Y] M^-1 [sigma S, Y]^T,   M = [[sigma S^T S, L], [L^T, -D]],

    L the part of S^T Y below its diagonal, D its diagonal.  Nothing here needs sigma or D to be positive: with updates
    in the place of gradients both change their sign, and B with them.

    Args:
        steps: row numbers int64 ``[p]`` of the steps, p >= 1.
        changes: row numbers int64 ``[p]`` of the gradient changes.
        directions: coefficients float64 ``[t, r]`` of the vectors v in the rows.
        inner: inner products float64 ``[r, r]`` of all rows.

    Returns:
        Coefficients float64 ``[t, r]`` of B v in the rows.  Zero where the approximation isn't finite (no prediction).
    """
    ss, sy = inner[steps][:, steps], inner[steps][:, changes]
    sigma = float(sy[-1, -1] / ss[-1, -1])
    lower = sy.tril(-1)
    middle = torch.cat([torch.cat([sigma * ss, lower], dim=1), torch.cat([lower.T, -sy.diagonal().diag()], dim=1)])
    along = inner @ directions.T
    right = torch.cat([sigma * along[steps], along[changes]])
    if not bool(torch.isfinite(middle).all() & torch.isfinite(right).all()):
        return torch.zeros_like(directions)
    solved = torch.linalg.pinv(middle, rtol=RANK_TOLERANCE) @ right
    product = sigma * directions
    product[:, steps] -= sigma * solved[: len(steps)].T
    product[:, changes] -= solved[len(steps) :].T
    return product if bool(torch.isfinite(product).all()) else torch.zeros_like(directions)
