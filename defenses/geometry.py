"""Norms, Gram matrices, distances and cosines of client updates, accumulated in float64.

Everything is computed over blocks of columns, so that no float64 copy of the ``[n, d]`` matrix ever exists; one Gram
matrix then serves distances, cosines and principal components alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

FLOOR = 1e-12
"""Smallest norm that anything is divided by."""
BLOCK = 32_768
"""Columns per block."""


def require_finite(updates: Tensor, ids: Sequence[int]) -> None:
    """Check a matrix of updates ``[n, d]``, n >= 1, against its n client ids.

    Raises:
        ValueError: the shapes don't match, or a client sent NaN or infinity; the message names the client ids.
    """
    if updates.ndim != 2 or len(updates) == 0 or len(updates) != len(ids):
        raise ValueError(f"expected updates [n, d] of n >= 1 clients, got {tuple(updates.shape)} for {len(ids)} ids")
    # a float64 sum of finite float32 numbers can't overflow; NaN and infinity survive every sum
    bad = [i for i, row in zip(ids, updates, strict=True) if not bool(torch.isfinite(row.sum(dtype=torch.float64)))]
    if bad:
        raise ValueError(f"updates of clients {bad} hold NaN or infinity; reject them before aggregation")


def column_blocks(rows: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """The columns of ``rows [n, d]`` in blocks: where they lie, and their float64 copy ``[n, <= BLOCK]``."""
    for start in range(0, rows.shape[1], BLOCK):
        columns = slice(start, start + BLOCK)
        yield columns, rows[:, columns].to(torch.float64, copy=True)


def gram(rows: Tensor, *, offset: Tensor | None = None, centred: bool = False) -> Tensor:
    """Inner products float64 ``[n, n]`` of rows ``[n, d]``.

    ``offset [d]`` is added to every row first (global model + update = local model); ``centred`` subtracts the mean
    row, before multiplying: the differences of large, nearly equal rows keep their digits.
    """
    n = len(rows)
    total = torch.zeros(n, n, dtype=torch.float64)
    for columns, block in column_blocks(rows):
        if offset is not None:
            block += offset[columns].to(torch.float64)
        if centred:
            block -= block.mean(0)
        total += block @ block.T
    return (total + total.T) / 2


def row_norms(rows: Tensor) -> Tensor:
    """Euclidean norms float64 ``[n]`` of rows ``[n, d]``."""
    squares = torch.zeros(len(rows), dtype=torch.float64)
    for _, block in column_blocks(rows):
        squares += block.square_().sum(1)
    return squares.sqrt_()


def median(values: Tensor) -> float:
    """Median of ``[n]`` numbers; the mean of the middle two for even n (torch's own is the lower one)."""
    ordered = values.to(torch.float64).sort().values
    n = len(ordered)
    return float((ordered[(n - 1) // 2] + ordered[n // 2]) / 2)


def squared_distances(inner: Tensor) -> Tensor:
    """Squared Euclidean distances ``[n, n]`` from a Gram matrix; symmetric, zero diagonal, never negative.

    What lies below the rounding error of the largest row counts as zero, so that equal rows are exactly tied.
    """
    squares = inner.diagonal()
    distances = squares[:, None] + squares[None, :] - 2.0 * inner
    noise = 8 * len(inner) * torch.finfo(torch.float64).eps * squares.max()
    return distances.masked_fill(distances <= noise, 0.0).fill_diagonal_(0.0)


def cosines(inner: Tensor) -> Tensor:
    """Cosine similarities ``[n, n]`` in [-1, 1] from a Gram matrix; a zero row has cosine 0 with every other row.

    The diagonal is 1, a zero row's included: everything equals itself.
    """
    norms = inner.diagonal().clamp(min=0.0).sqrt()
    scale = norms.clamp(min=FLOOR)
    similar = (inner / scale[:, None] / scale[None, :]).clamp_(-1.0, 1.0)
    empty = norms <= FLOOR
    similar[empty] = 0.0
    similar[:, empty] = 0.0
    return similar.fill_diagonal_(1.0)


def cosine_distances(inner: Tensor) -> Tensor:
    """1 - cosine, float64 ``[n, n]`` in [0, 2], zero diagonal; rounding errors (below 1e-14) count as zero."""
    distances = 1.0 - cosines(inner)
    return distances.masked_fill(distances < 1e-14, 0.0)


def principal_scores(inner: Tensor) -> tuple[Tensor, Tensor]:
    """Principal components by the n x n route: X X^T = V L V^T, scores V L^(1/2).

    Args:
        inner: centred Gram matrix float64 ``[n, n]``.

    Returns:
        Scores ``[n, n]``, columns in falling order of variance (their signs are arbitrary), and the variances
        (eigenvalues) ``[n]``, never negative.
    """
    values, vectors = torch.linalg.eigh(inner)
    values = values.flip(0).clamp(min=0.0)
    return vectors.flip(1) * values.sqrt(), values


def weighted_sum(weights: Tensor, rows: Tensor) -> Tensor:
    """``sum_i weights[i] * rows[i]`` as a float32 vector ``[d]``, summed in float64; rows of weight 0 aren't read."""
    used = weights.nonzero().flatten()
    if len(used) < len(weights):
        rows, weights = rows[used], weights[used]
    total = torch.empty(rows.shape[1], dtype=torch.float32)
    for columns, block in column_blocks(rows):
        total[columns] = (weights.to(torch.float64) @ block).to(torch.float32)
    return total
