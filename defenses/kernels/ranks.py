"""Ranks of numbers, and two-group cuts of them."""

from __future__ import annotations

import torch
from torch import Tensor

STEPS = 200
"""Most steps of the mixture's EM; it ends by itself after some tens."""


def percentile_ranks(scores: Tensor) -> Tensor:
    """Rank of each number among all, float64 ``[n]`` in (0, 1]: the place in ascending order, 1 .. n, over n.

    Equal numbers share the mean of their places, so that the order of rows settles nothing.
    """
    _, group, size = torch.unique(scores.to(torch.float64), return_inverse=True, return_counts=True)
    last = size.cumsum(0).to(torch.float64)
    places = last - (size.to(torch.float64) - 1.0) / 2.0
    ranks: Tensor = places[group] / len(scores)
    return ranks


def top_share(scores: Tensor, share: float) -> Tensor:
    """Mask, bool ``[n]``, of the highest ``share`` (fraction) of numbers: those of rank above 1 - share."""
    return percentile_ranks(scores) > 1.0 - share


def above_otsu(scores: Tensor) -> Tensor:
    """Mask, bool ``[n]``, of the higher of two groups with the least squares within them (otsu1979, exact 2-means).

    Equal numbers stay together; one group (nothing masked) where all are equal.
    """
    ordered = scores.to(torch.float64).sort().values
    n = len(ordered)
    centred = ordered - ordered.mean()
    size = torch.arange(1, max(n, 1), dtype=torch.float64)
    between = centred.cumsum(0)[:-1].square() * n / (size * (n - size))
    between = torch.where(ordered[1:] > ordered[:-1], between, -1.0)
    if not len(between) or float(between.max()) < 0.0:
        return torch.zeros(n, dtype=torch.bool)
    return scores.to(torch.float64) > ordered[int(between.argmax())]


def above_gap(scores: Tensor, least: float) -> Tensor:
    """Mask, bool ``[n]``, of the numbers above the widest gap between neighbours in the upper half.

    At least the share ``least`` (fraction) of them lies above it; nothing is masked where there is no such gap.
    """
    ordered = scores.to(torch.float64).sort().values
    n = len(ordered)
    start, stop = n // 2, n - max(1, round(least * n))
    gaps = ordered[start + 1 : stop + 1] - ordered[start:stop]
    if not len(gaps) or float(gaps.max()) <= 0.0:
        return torch.zeros(n, dtype=torch.bool)
    return scores.to(torch.float64) > ordered[start + int(gaps.argmax())]


def above_mixture(scores: Tensor) -> Tensor:
    """Mask, bool ``[n]``, of what a mixture of two normal distributions gives to that of the higher mean.

    EM (dempster1977em) from the groups of :func:`above_otsu`, so that nothing is drawn; the masked are cut off from
    below by the least of them that the higher one claims, for a wide component claims both tails.
    """
    values = scores.to(torch.float64)
    high = above_otsu(values)
    if not bool(high.any()):
        return high
    floor = 1e-6 * float(values.var(correction=0))
    claims = torch.stack([~high, high]).to(torch.float64)
    for _ in range(STEPS):
        size = claims.sum(1).clamp(min=1e-12)
        mean = (claims @ values) / size
        variance = ((claims * (values - mean[:, None]).square()).sum(1) / size).clamp(min=floor)
        log = -0.5 * ((values - mean[:, None]).square() / variance[:, None] + variance.log()[:, None])
        updated = (log + (size / len(values)).log()[:, None]).softmax(0)
        done = bool((updated - claims).abs().max() < 1e-9)
        claims = updated
        if done:
            break
    upper = int(mean.argmax())
    return (claims[upper] > 0.5) & (values > mean[1 - upper])
