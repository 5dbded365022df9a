"""Coordinate-wise statistics of client updates, over blocks of columns; nothing of the matrix's size is ever made.

A block is transposed and every coordinate's few values are put in order.  On the CPU that is numpy's vectorised sort of
short rows: measured, it beats numpy's own partition and torch's selection, and it serves every statistic here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from defenses.kernels.geometry import block_slices, column_blocks, take_columns

Statistic = Callable[[Tensor], Tensor]
"""Maps ascending values ``[c, k]`` of c coordinates to one float64 number each, ``[c]``."""


def by_coordinate(rows: Tensor, statistic: Statistic, members: Tensor | None = None) -> Tensor:
    """Apply a statistic to every coordinate of rows ``[n, d]``, or of those numbered by ``members`` int64 ``[k]``.

    Returns:
        float32 ``[d]`` on the rows' device.
    """
    result = torch.empty(rows.shape[1], dtype=torch.float32, device=rows.device)
    for columns, _, values in _statistics(rows, statistic, members):
        result[columns] = values
    return result


def by_coordinate_with_distances(rows: Tensor, statistic: Statistic) -> tuple[Tensor, Tensor]:
    """``by_coordinate`` over all rows, and the distance of every row to the result, float64 ``[n]`` on the CPU."""
    result = torch.empty(rows.shape[1], dtype=torch.float32, device=rows.device)
    squares = torch.zeros(len(rows), dtype=torch.float64)
    memory: Tensor | None = None
    for columns, block, values in _statistics(rows, statistic, None):
        memory = torch.empty(block.numel(), dtype=block.dtype, device=block.device) if memory is None else memory
        result[columns] = values
        squares += _distances(block, values, memory).square_().cpu()
    return result, squares.sqrt_()


def _statistics(rows: Tensor, statistic: Statistic, members: Tensor | None) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Blocks of columns: where they lie, their values float32 ``[k, c]`` and their statistic float32 ``[c]``."""
    members = None if members is None else members.to(rows.device)
    memory: tuple[Tensor, Tensor] | None = None
    for columns in block_slices(len(rows), rows.shape[1]):
        block = take_columns(rows, columns)
        if memory is None:  # taken once: fresh memory for every block would cost as much as the arithmetic
            size = (len(rows) if members is None else len(members)) * block.shape[1]
            memory = block.new_empty(0 if members is None else size), block.new_empty(size)
        if members is not None:
            chosen = memory[0][: len(members) * block.shape[1]].view(len(members), -1)
            block = torch.index_select(block, 0, members.to(block.device), out=chosen)
        yield columns, block, statistic(ascending(block, memory[1])).to(torch.float32)


def _distances(block: Tensor, values: Tensor, memory: Tensor) -> Tensor:
    """Distance float64 ``[n]`` of every row of a block ``[n, c]`` to a vector ``[c]``; ``memory`` holds differences."""
    differences = torch.sub(block, values, out=memory[: block.numel()].view(block.shape))
    lengths: Tensor = torch.linalg.vector_norm(differences, dim=1).to(torch.float64)
    if bool(((lengths > 1e-15) & (lengths < 1e15)).all()):  # else float32 squares may have over- or underflown
        return lengths
    exact: Tensor = torch.linalg.vector_norm(block.to(torch.float64) - values, dim=1)
    return exact


def ascending(block: Tensor, memory: Tensor) -> Tensor:
    """Every column's values in ascending order, ``[c, k]``, of a block ``[k, c]``; the block stays as it is.

    ``memory``, as large as the block at least, is where they are put.
    """
    values = memory[: block.numel()].view(block.shape[1], block.shape[0]).copy_(block.T)
    if values.device.type != "cpu":
        return values.sort(dim=1).values
    values.numpy().sort(axis=1)
    return values


def middle(values: Tensor) -> Tensor:
    """Median; the mean of the middle two for even k."""
    k = values.shape[1]
    return (values[:, (k - 1) // 2].to(torch.float64) + values[:, k // 2].to(torch.float64)) / 2


def inner_mean(values: Tensor, trim: int) -> Tensor:
    """Mean of what is left without the ``trim`` lowest and highest; 2 trim < k.

    Only what is kept is summed: a total minus the trimmed values would lose the others to a single giant.  Summed in
    float32, by pairs: exact to a few parts in 10 million of the largest kept value; float64 takes over on overflow.
    """
    kept = values[:, trim : values.shape[1] - trim]
    total = kept.sum(1)
    if not bool(torch.isfinite(total).all()):
        total = kept.sum(1, dtype=torch.float64)
    return total.to(torch.float64) / kept.shape[1]


def mean_near_median(values: Tensor, keep: int) -> Tensor:
    """Mean of the ``keep`` values closest to the median, 1 <= keep <= k; of two as far, the lower one.

    They lie side by side and hold a middle value.  From the lowest place where they could begin, one value after the
    other is given up for the one ``keep`` places above while it is farther from the median than that.
    """
    k = values.shape[1]
    below, above = (k - 1) // 2, k // 2
    lowest, highest = max(0, below - keep + 1), min(k - keep, above)
    near = values[:, lowest : highest + keep].to(torch.float64)
    twice = near[:, below - lowest, None] + near[:, above - lowest, None]
    steps = highest - lowest
    lost, gained = near[:, :steps], near[:, keep : keep + steps]
    taken = torch.where(lost + gained < twice, gained, lost)
    return (taken.sum(1) + near[:, steps:keep].sum(1)) / keep


def mean_without_outliers(rows: Tensor, deviations: float, factors: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Mean of every coordinate after values beyond ``deviations`` standard deviations are replaced by the mean.

    Args:
        rows: float32 ``[n, d]``, on any device.
        deviations: in units of the population's standard deviation.
        factors: every row is multiplied by its factor first, float64 ``[n]``; None = by 1.

    Returns:
        The result, float32 ``[d]`` on the rows' device, and how many values of every row were replaced, int64 ``[n]``.
    """
    result = torch.empty(rows.shape[1], dtype=torch.float32, device=rows.device)
    replaced = torch.zeros(len(rows), dtype=torch.int64)
    memory: Tensor | None = None
    for columns, block in column_blocks(rows):
        if factors is not None:
            block *= factors.to(block.device)[:, None]
        mean = block.mean(0)
        block -= mean
        memory = torch.empty_like(block).flatten() if memory is None else memory
        squares = torch.mul(block, block, out=memory[: block.numel()].view(block.shape))
        outliers = squares > deviations**2 * squares.mean(0)
        replaced += torch.count_nonzero(outliers, dim=1).cpu()
        result[columns] = (mean + block.masked_fill_(outliers, 0.0).mean(0)).to(torch.float32)
    return result, replaced
