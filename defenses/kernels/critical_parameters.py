"""The most and the least important coordinates of several vectors, and how alike they are between the vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]
Correlation = Literal["pearson", "spearman"]

CROWDED = 9
"""A coordinate chosen by more than one vector in this many is multiplied densely, a rarer one sparsely."""
BLOCK = 4096
"""Crowded coordinates per dense product."""
SAMPLE = 20_000
"""Numbers that a bound for the extremes is guessed from, so that only few have to be partitioned."""
TINY = 1e-12
"""A variance below this share of the mean square is rounding."""


@dataclass(frozen=True)
class Chosen:
    """k coordinates of each of m vectors, and their values there."""

    columns: Ints
    """``[m, k]``, ascending in each row."""
    values: Floats
    """``[m, k]``."""
    width: int
    """Coordinates that there are."""


def extremes(vector: Floats, k: int) -> tuple[Ints, Ints]:
    """Coordinates of the k largest and of the k smallest numbers, ascending; of equal ones the first are taken."""
    sample = np.sort(vector[:: max(1, len(vector) // SAMPLE)])
    margin = min(len(sample) - 1, int(2 * k / len(vector) * len(sample)) + 1)
    top = np.flatnonzero(vector >= sample[-1 - margin])
    bottom = np.flatnonzero(vector <= sample[margin])
    return _best(vector, top, k, smallest=False), _best(vector, bottom, k, smallest=True)


def _best(vector: Floats, candidates: NDArray[np.intp], k: int, *, smallest: bool) -> Ints:
    """The k best of all; ``candidates`` are those beyond some bound, and suffice if they are k at least."""
    if len(candidates) < k:
        candidates = np.arange(len(vector))
    values = vector[candidates] if smallest else -vector[candidates]
    bound = np.partition(values, k - 1)[k - 1]
    beyond, level = np.flatnonzero(values < bound), np.flatnonzero(values == bound)
    return np.sort(candidates[np.concatenate([beyond, level[: k - len(beyond)]])]).astype(np.int32)


def likeness(chosen: Chosen, correlation: Correlation) -> Floats:
    """Jaccard index of two vectors' coordinates plus (rho + 1) / 2, ``[m, m]`` in 0..2.

    rho is the correlation of the values on the coordinates that both chose; 0 when these are fewer than two or one
    side is constant there.
    """
    k = chosen.columns.shape[1]
    common, rho = _pearson(chosen) if correlation == "pearson" else _spearman(chosen)
    alike: Floats = common / (2 * k - common) + (rho + 1.0) / 2.0
    return (alike + alike.T) / 2.0  # products over blocks need not be symmetric to the last bit


def _pearson(chosen: Chosen) -> tuple[Floats, Floats]:
    """Sizes of the common sets and correlations on them, from four sums over common coordinates."""
    values = chosen.values - chosen.values.mean(axis=1, keepdims=True)  # large equal parts would swallow the digits
    largest = np.abs(values).max(axis=1, keepdims=True)
    values = values / np.where(largest > 0.0, largest, 1.0)
    common, sums, squares, products = _sums(chosen.columns, values)
    count = np.maximum(common, 1.0)
    spread = squares / count - (sums / count) ** 2
    spread[spread <= TINY * squares / count] = 0.0
    shared = products / count - (sums / count) * (sums.T / count)
    return common, _correlation(common, shared, spread * spread.T)


def _correlation(common: Floats, shared: Floats, variances: Floats) -> Floats:
    known = (common >= 2) & (variances > 0.0)
    rho: Floats = np.where(known, shared / np.sqrt(np.where(known, variances, 1.0)), 0.0)
    return np.clip(rho, -1.0, 1.0)


def _sums(columns: Ints, values: Floats) -> Floats:
    """Over the coordinates that i and j both chose: their number, sums of x_i, x_i^2 and x_i x_j: ``[4, m, m]``."""
    m = len(columns)
    count = np.bincount(columns.ravel())
    rare = max(1, m // CROWDED)
    total = np.zeros((4, m, m))
    for wanted, products in (((count > 1) & (count <= rare), _sparse_products), (count > rare, _dense_products)):
        place = (np.cumsum(wanted) - 1).astype(np.int32)
        at = wanted[columns]
        if bool(at.any()):
            products(total, at.sum(axis=1), place[columns[at]], values[at], int(wanted.sum()))
    total[:, np.arange(m), np.arange(m)] = 0.0  # coordinates that nobody shares were left out
    return total


def _sparse_products(total: Floats, per_row: NDArray[np.intp], columns: Ints, values: Floats, width: int) -> None:
    from scipy.sparse import csr_array

    starts = np.concatenate([[0], np.cumsum(per_row)]).astype(np.int32)
    shape = (len(per_row), width)
    here = csr_array((np.ones(len(columns)), columns, starts), shape=shape)
    value = csr_array((values, columns, starts), shape=shape)
    square = csr_array((values * values, columns, starts), shape=shape)
    also_here = here.T.tocsr()
    total[0] += (here @ also_here).toarray()
    total[1] += (value @ also_here).toarray()
    total[2] += (square @ also_here).toarray()
    total[3] += (value @ value.T.tocsr()).toarray()


def _dense_products(total: Floats, per_row: NDArray[np.intp], columns: Ints, values: Floats, width: int) -> None:
    rows = np.repeat(np.arange(len(per_row)), per_row)
    order = np.argsort(columns, kind="stable")
    rows, columns, values = rows[order], columns[order], values[order]
    for start in range(0, width, BLOCK):
        part = slice(*np.searchsorted(columns, [start, start + BLOCK]))
        here, value = torch.zeros(2, len(per_row), min(BLOCK, width - start), dtype=torch.float64)
        place = torch.from_numpy(rows[part]), torch.from_numpy(columns[part] - start).long()
        here[place] = 1.0
        value[place] = torch.from_numpy(values[part])
        pairs = ((here, here), (value, here), (value * value, here), (value, value))
        for number, (left, right) in enumerate(pairs):
            total[number] += (left @ right.T).numpy()  # torch: one thread setting for the whole process


def _spearman(chosen: Chosen) -> tuple[Floats, Floats]:
    """The same with ranks among the common coordinates (mean ranks for ties), pair by pair."""
    m, k = chosen.columns.shape
    common, rho = np.zeros((m, m)), np.zeros((m, m))
    groups = [np.unique(row, return_inverse=True)[1] for row in chosen.values]
    place = np.empty(chosen.width, dtype=np.int64)
    for i in range(m):
        place.fill(-1)
        place[chosen.columns[i]] = np.arange(k)
        for j in range(i):
            at = place[chosen.columns[j]]
            both = at >= 0
            common[i, j] = common[j, i] = both.sum()
            rho[i, j] = rho[j, i] = _linear(_ranks(groups[i][at[both]]), _ranks(groups[j][both]))
    return common, rho


def _ranks(group: Ints) -> Floats:
    """Mean ranks of values that are given as numbers of ascending groups of equal ones."""
    size = np.bincount(group)
    ranks: Floats = (np.cumsum(size) - (size - 1) / 2.0)[group]
    return ranks


def _linear(x: Floats, y: Floats) -> float:
    if len(x) < 2:
        return 0.0
    x, y = x - x.mean(), y - y.mean()
    scale = float((x @ x) * (y @ y))
    return float(x @ y) / scale**0.5 if scale > 0.0 else 0.0
