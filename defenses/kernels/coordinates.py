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
        ``[d]`` of the rows' type, on their device.
    """
    result = torch.empty(rows.shape[1], dtype=rows.dtype, device=rows.device)
    for columns, _, values in _statistics(rows, statistic, members):
        result[columns] = values
    return result


def by_coordinate_with_distances(rows: Tensor, statistic: Statistic) -> tuple[Tensor, Tensor]:
    """``by_coordinate`` over all rows, and the distance of every row to the result, float64 ``[n]`` on the CPU."""
    result = torch.empty(rows.shape[1], dtype=rows.dtype, device=rows.device)
    squares = torch.zeros(len(rows), dtype=torch.float64)
    memory: Tensor | None = None
    for columns, block, values in _statistics(rows, statistic, None):
        memory = torch.empty(block.numel(), dtype=block.dtype, device=block.device) if memory is None else memory
        result[columns] = values
        squares += _distances(block, values, memory).square_().cpu()
    return result, squares.sqrt_()


def _statistics(rows: Tensor, statistic: Statistic, members: Tensor | None) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """For each block of c columns: its place, its values ``[k, c]`` and their statistic ``[c]``, of the rows' type.

    The values of a block are overwritten by the next one.
    """
    members = None if members is None else members.to(rows.device)
    k = len(rows) if members is None else len(members)
    memory: tuple[Tensor, Tensor] | None = None  # for the members' rows, and for the sorted values
    for columns in block_slices(len(rows), rows.shape[1]):
        block = take_columns(rows, columns)
        if memory is None:  # allocated once, for the largest block: allocating costs as much as the arithmetic
            size = k * block.shape[1]
            memory = block.new_empty(0 if members is None else size), block.new_empty(size)
        if members is not None:
            of_members = memory[0][: k * block.shape[1]].view(k, -1)
            block = torch.index_select(block, 0, members.to(block.device), out=of_members)
        yield columns, block, statistic(ascending(block, memory[1])).to(rows.dtype)


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

    In sorted order these values form a window of ``keep`` neighbours around the median.  The window starts as far left
    as it may lie.  It slides right by one while its lowest value is farther from the median than the next value above
    it.  Both values rise from step to step, so a window that has stopped never slides again.
    """
    k = values.shape[1]
    below, above = (k - 1) // 2, k // 2  # the middle values; the same one for odd k
    first, last = max(0, below - keep + 1), min(k - keep, above)  # leftmost and rightmost start of the window
    near = values[:, first : last + keep].to(torch.float64)
    twice_the_median = near[:, below - first, None] + near[:, above - first, None]
    steps = last - first
    leaving, entering = near[:, :steps], near[:, keep : keep + steps]  # step j trades leaving[j] for entering[j]
    slides = leaving + entering < twice_the_median  # median - leaving > entering - median
    traded = torch.where(slides, entering, leaving)
    return (traded.sum(1) + near[:, steps:keep].sum(1)) / keep


def mean_without_outliers(rows: Tensor, deviations: float, factors: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Mean of every coordinate after values beyond ``deviations`` standard deviations are replaced by the mean.

    Args:
        rows: float32 ``[n, d]``, on any device.
        deviations: in units of the population's standard deviation.
        factors: every row is multiplied by its factor first, float64 ``[n]``; None = by 1.

    Returns:
        The result, float32 ``[d]`` on the rows' device, and how many values of every row were replaced, int64 ``[n]``.
    """
    result = torch.empty(rows.shape[1], dtype=rows.dtype, device=rows.device)
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
        result[columns] = (mean + block.masked_fill_(outliers, 0.0).mean(0)).to(result.dtype)
    return result, replaced
