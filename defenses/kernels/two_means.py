"""The best split of numbers, and of vectors, into two groups around their means."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from defenses.kernels.geometry import principal_scores, squared_distances

STEPS = 100
"""Most steps of one descent; it ends by itself after a few."""
STARTS = 10
"""Principal components whose best split a descent starts from."""


def split_gaps(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Distance between the two centres of the exact 2-means of each row of ``[k, n]``, n >= 2: float64 ``[k]``.

    In one dimension the best groups are the s smallest numbers and the rest; with C_s = sum of the s smallest minus
    their share of the total, within-group squares are least where C_s^2 * n / (s (n - s)) is largest.
    """
    n = values.shape[1]
    ordered = np.sort(values, axis=1).astype(np.float64)
    ordered -= ordered.mean(axis=1, keepdims=True)
    below = np.abs(np.cumsum(ordered, axis=1)[:, :-1])
    size = np.arange(1, n, dtype=np.float64)
    apart = n / (size * (n - size))
    best = np.argmax(below * np.sqrt(apart), axis=1)
    gaps: NDArray[np.float64] = below[np.arange(len(values)), best] * apart[best]
    return gaps


def two_means(inner: Tensor) -> Tensor:
    """Groups, bool ``[n]`` (which group is called True is arbitrary), of 2-means from a centred Gram matrix ``[n, n]``.

    Nothing is left to chance: descents start from the best split of each of the first ``STARTS`` principal components
    and from the two points furthest apart, and the lowest sum of squares wins. Points that all coincide are one group.
    """
    n = len(inner)
    distances = squared_distances(inner)  # equal points are exactly tied here
    if n < 2 or float(distances.max()) == 0.0:
        return torch.ones(n, dtype=torch.bool)
    centred = -0.5 * (distances - distances.mean(0) - distances.mean(1, keepdim=True) + distances.mean())
    scores = principal_scores(centred)[0]
    far = divmod(int(distances.argmax()), n)
    starts = [_split_of_numbers(scores[:, number]) for number in range(min(STARTS, n - 1))]
    starts.append(distances[far[0]] <= distances[far[1]])
    ends = [_descend(centred, start) for start in starts]
    return max(ends, key=lambda groups: _held(centred, groups))


def _split_of_numbers(numbers: Tensor) -> Tensor:
    order = numbers.argsort()
    ordered = (numbers - numbers.mean())[order]
    n = len(numbers)
    size = torch.arange(1, n, dtype=torch.float64)
    cut = int((ordered.cumsum(0)[:-1].square() * n / (size * (n - size))).argmax()) + 1
    groups = torch.zeros(n, dtype=torch.bool)
    groups[order[:cut]] = True
    return groups


def _descend(inner: Tensor, groups: Tensor) -> Tensor:
    """Lloyd's steps, all points at once, then Hartigan's, the one point whose move lowers the squares most."""
    for _ in range(STEPS):
        nearer = torch.stack([_reach(inner, groups), _reach(inner, ~groups)]).argmin(0) == 0
        if torch.equal(nearer, groups) or bool(nearer.all()) or not bool(nearer.any()):
            break
        groups = nearer
    for _ in range(STEPS):
        size = torch.where(groups, groups.sum(), (~groups).sum()).to(torch.float64)
        own = torch.where(groups, _reach(inner, groups), _reach(inner, ~groups)) + inner.diagonal()
        other = torch.where(groups, _reach(inner, ~groups), _reach(inner, groups)) + inner.diagonal()
        rest = len(inner) - size
        gain = torch.where(size > 1, own * size / (size - 1).clamp(min=1.0) - other * rest / (rest + 1), -1.0)
        best = int(gain.argmax())
        if float(gain[best]) <= 1e-12 * float(inner.diagonal().sum()):
            break
        groups = groups.clone()
        groups[best] = ~groups[best]
    return groups


def _reach(inner: Tensor, mask: Tensor) -> Tensor:
    """Squared distance of every point to the mean of the masked ones, less its own squared length."""
    return inner[mask][:, mask].mean() - 2.0 * inner[:, mask].mean(1)


def _held(inner: Tensor, groups: Tensor) -> float:
    """Squares between the groups: total squares minus this are those within."""
    return sum(float(inner[mask][:, mask].sum()) / int(mask.sum()) for mask in (groups, ~groups) if bool(mask.any()))
