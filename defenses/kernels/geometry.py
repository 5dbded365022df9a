"""Norms, Gram matrices, distances and cosines of client updates, accumulated in float64.

Everything is computed over blocks of columns, so that no float64 copy of the ``[n, d]`` matrix ever exists; one Gram
matrix then serves distances, cosines and principal components alike.  Blocks are worked on where the matrix lies, or
on the CPU where that device has no float64; what is small (norms, Gram matrices) is returned on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

FLOOR = 1e-12
"""Smallest norm that anything is divided by."""
BLOCK = 2**19
"""Numbers per block: 4 MiB in float64, which stays in a core's cache, and far less than any matrix worth blocking."""
NO_FLOAT64 = frozenset({"mps"})
"""Devices without float64; their blocks are worked on by the CPU."""
COSINE_ERROR = 1e-14
"""What rounding may do to a cosine of float64 inner products."""


def require_finite(updates: Tensor, ids: Sequence[int]) -> Tensor:
    """Check a matrix of updates ``[n, d]``, n >= 1, against its n client ids.

    Returns:
        The largest absolute value of every row, float64 ``[n]``.

    Raises:
        ValueError: the shapes don't match, or a client sent NaN or infinity; the message names the client ids.
    """
    if updates.ndim != 2 or len(updates) == 0 or len(updates) != len(ids):
        raise ValueError(f"expected updates [n, d] of n >= 1 clients, got {tuple(updates.shape)} for {len(ids)} ids")
    if updates.shape[1] == 0:
        return torch.zeros(len(updates), dtype=torch.float64)
    extremes = torch.stack([torch.stack(row.aminmax()) for row in updates])  # both are NaN where a row holds one
    largest = extremes.abs().amax(1).cpu().to(torch.float64)
    bad = [i for i, fine in zip(ids, torch.isfinite(largest).tolist(), strict=True) if not fine]
    if bad:
        raise ValueError(f"updates of clients {bad} hold NaN or infinity; reject them before aggregation")
    return largest


def block_slices(n: int, d: int) -> Iterator[slice]:
    """Columns of an ``[n, d]`` matrix in blocks of about ``BLOCK`` numbers."""
    width = max(1, BLOCK // max(1, n))
    for start in range(0, d, width):
        yield slice(start, min(start + width, d))


def column_blocks(rows: Tensor, members: Tensor | None = None) -> Iterator[tuple[slice, Tensor]]:
    """The columns of ``rows [n, d]`` in blocks: where they lie, and their float64 copy ``[k, <= width]``.

    The copy may be changed; it lasts until the next one is asked for, which takes its place in memory (fresh memory
    would cost as much as the arithmetic).  ``members`` int64 ``[k]`` are the rows that are read; None reads all.
    """
    held: Tensor | None = None
    for columns in block_slices(len(rows) if members is None else len(members), rows.shape[1]):
        block = take_columns(rows, columns, members)
        held = torch.empty(block.numel(), dtype=torch.float64, device=block.device) if held is None else held
        yield columns, held[: block.numel()].view(block.shape).copy_(block)


def take_columns(rows: Tensor, columns: slice, members: Tensor | None = None) -> Tensor:
    """Some columns of all or some rows, on a device that has float64; shares memory with ``rows`` where it can."""
    block = rows[:, columns]
    if members is not None:
        block = block[members.to(rows.device)]
    return block.cpu() if rows.device.type in NO_FLOAT64 else block


def gram(rows: Tensor, *, offset: Tensor | None = None, centred: bool = False, members: Tensor | None = None) -> Tensor:
    """Inner products float64 ``[k, k]`` of rows ``[n, d]``, or of those numbered by ``members`` int64 ``[k]``.

    ``offset [d]`` is added to every row first (global model + update = local model); ``centred`` subtracts the mean
    row, before multiplying: the differences of large, nearly equal rows keep their digits.
    """
    total: Tensor | None = None
    with _blas().limit(limits=torch.get_num_threads()):  # numpy's BLAS has threads of its own: they change bits
        for columns, block in column_blocks(rows, members):
            if offset is not None:
                block += offset[columns].to(block.device).to(torch.float64)
            if centred:
                block -= block.mean(0)
            product = _times_own_transpose(block)
            total = product if total is None else total.add_(product)
    if total is None:
        k = len(rows) if members is None else len(members)
        return torch.zeros(k, k, dtype=torch.float64)
    return ((total + total.T) / 2).cpu()


def _times_own_transpose(block: Tensor) -> Tensor:
    """``block @ block.T``; on the CPU by numpy, which knows that half of the product is enough and torch doesn't."""
    if block.device.type != "cpu":
        return block @ block.T
    array = block.numpy()
    return torch.from_numpy(array @ array.T)


@cache
def _blas() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


def row_norms(rows: Tensor) -> Tensor:
    """Euclidean norms float64 ``[n]`` of rows ``[n, d]``."""
    squares = torch.zeros(len(rows), dtype=torch.float64)
    for _, block in column_blocks(rows):
        squares += block.square_().sum(1).cpu()
    return squares.sqrt_()


def median(values: Tensor) -> float:
    """Median of ``[n]`` numbers; the mean of the middle two for even n (torch's own is the lower one)."""
    ordered = values.to(torch.float64).sort().values
    n = len(ordered)
    return float((ordered[(n - 1) // 2] + ordered[n // 2]) / 2)


def rounding_errors(inner: Tensor) -> Tensor:
    """What the entries of a Gram matrix in each row's own scale may be off by, float64 ``[n]``."""
    return 8 * len(inner) * torch.finfo(torch.float64).eps * inner.diagonal()


def squared_distances(inner: Tensor, *, pairwise: bool = False) -> Tensor:
    """Squared Euclidean distances ``[n, n]`` from a Gram matrix; symmetric, zero diagonal, never negative.

    What lies below the rounding error of the largest row counts as zero, so that equal rows are exactly tied.  With
    ``pairwise`` it is that of the larger row of each pair: a long row then costs the others no digits.  That is right
    for inner products of the rows themselves, not for those of an eigendecomposition.
    """
    squares, errors = inner.diagonal(), rounding_errors(inner)
    distances = squares[:, None] + squares[None, :] - 2.0 * inner
    noise = torch.maximum(errors[:, None], errors[None, :]) if pairwise else errors.max()
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
    """1 - cosine, float64 ``[n, n]`` in [0, 2], zero diagonal; what is below ``COSINE_ERROR`` counts as zero."""
    distances = 1.0 - cosines(inner)
    return distances.masked_fill(distances < COSINE_ERROR, 0.0)


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
    """``sum_i weights[i] * rows[i]`` as a vector ``[d]`` of the rows' type, on their device, summed in float64."""
    used = weights.nonzero().flatten()
    members = used if 2 * len(used) <= len(weights) else None  # few are picked out, most are multiplied by 0
    chosen = weights.to(torch.float64) if members is None else weights[used].to(torch.float64)
    total = torch.empty(rows.shape[1], dtype=rows.dtype, device=rows.device)
    for columns, block in column_blocks(rows, members):
        total[columns] = (chosen.to(block.device) @ block).to(rows.dtype)
    return total
