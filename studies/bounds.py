"""What no aggregation rule on updates ``[n, d]`` can beat: a mean, a Gram matrix, a partition, in plain numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


def mean_bound(updates: Tensor) -> object:
    """The mean of the rows, float32 ``[d]``."""
    return updates.numpy().mean(axis=0)


def gram_bound(updates: Tensor) -> NDArray[np.float64]:
    """One centred Gram matrix ``[n, n]``, in blocks of columns. Plain numpy; its product knows that it is symmetric."""
    rows = updates.numpy()
    n, d = rows.shape
    total, width = np.zeros((n, n)), max(1, 2**19 // n)
    memory = np.empty(n * width)
    for start in range(0, d, width):
        part = rows[:, start : start + width]
        block = memory[: part.size].reshape(part.shape)
        np.copyto(block, part)
        block -= block.mean(axis=0)
        total += block @ block.T
    return total


def partition_bound(updates: Tensor) -> NDArray[np.float32]:
    """Every coordinate parted at its middle, in transposed blocks; returns the last coordinate's values ``[n]``."""
    rows = updates.numpy()
    n, d = rows.shape
    width = max(1, 2**19 // n)
    memory = np.empty(n * width, dtype=np.float32)
    for start in range(0, d, width):
        part = rows[:, start : start + width].T
        block = memory[: part.size].reshape(part.shape)
        np.copyto(block, part)
        block.partition(n // 2, axis=1)
    last: NDArray[np.float32] = block[-1]
    return last
