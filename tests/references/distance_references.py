"""Slow, obvious float64 versions of the rules by distance, by coordinate and by length: loops, numpy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def krum_scores(points: Array, f: int) -> list[float]:
    """Sum of the n - f - 2 smallest squared distances to others; at least one of them while there is any."""
    n = len(points)
    scores = []
    for i in range(n):
        squares = sorted(float(((points[i] - points[j]) ** 2).sum()) for j in range(n) if j != i)
        scores.append(sum(squares[: max(1, n - f - 2)]))
    return scores


def repeated_krum(points: Array, f: int, m: int) -> list[int]:
    """Krum's choice, m times, each taken away before the next."""
    left, chosen = list(range(len(points))), []
    for _ in range(m):
        winner = left[int(np.argmin(krum_scores(points[left], f)))]
        chosen.append(winner)
        left.remove(winner)
    return chosen


def krum(w_t: Array, updates: Array, examples: Array) -> Array:
    best: Array = updates[int(np.argmin(krum_scores(updates, (len(updates) - 3) // 2)))]
    return best


def multi_krum(w_t: Array, updates: Array, examples: Array) -> Array:
    n = len(updates)
    f = (n - 3) // 2
    mean: Array = updates[np.argsort(krum_scores(updates, f), kind="stable")[: n - f]].mean(axis=0)
    return mean


def bulyan(w_t: Array, updates: Array, examples: Array) -> Array:
    n = len(updates)
    f = (n - 3) // 4
    return bulyan_mean(updates[repeated_krum(updates, f, n - 2 * f)], n - 4 * f)


def bulyan_mean(selected: Array, beta: int) -> Array:
    result = np.zeros(selected.shape[1])
    for j in range(selected.shape[1]):
        values = selected[:, j]
        centre = np.median(values)
        closest = sorted(values, key=lambda v: (abs(v - centre), v))[:beta]
        result[j] = sum(closest) / beta
    return result


def median(w_t: Array, updates: Array, examples: Array) -> Array:
    return np.array([np.median(updates[:, j]) for j in range(updates.shape[1])])


def trimmed_mean(w_t: Array, updates: Array, examples: Array) -> Array:
    n, d = updates.shape
    f = (n - 1) // 2
    return np.array([np.mean(sorted(updates[:, j])[f : n - f]) for j in range(d)])


def rfa(w_t: Array, updates: Array, examples: Array) -> Array:
    """Four Weiszfeld steps in the full space, from the weighted mean."""
    alpha = examples / examples.sum()
    z = sum(a * u for a, u in zip(alpha, updates, strict=True))
    for _ in range(4):
        b = [a / max(1e-6, float(np.linalg.norm(u - z))) for a, u in zip(alpha, updates, strict=True)]
        z = sum(bi * u for bi, u in zip(b, updates, strict=True)) / sum(b)
    return np.asarray(z)


def norm_threshold(w_t: Array, updates: Array, examples: Array, bound: float = 30.0) -> Array:
    total = np.zeros(updates.shape[1])
    for u, d in zip(updates, examples, strict=True):
        total += d * u * min(1.0, bound / float(np.linalg.norm(u)))
    return np.asarray(total / examples.sum())


def dp(w_t: Array, updates: Array, examples: Array, clip: float = 30.0) -> Array:
    """Without noise, everyone sampled."""
    return np.asarray(sum(u * min(1.0, clip / float(np.linalg.norm(u))) for u in updates)) / len(updates)


def rlr(w_t: Array, updates: Array, examples: Array) -> Array:
    n, d = updates.shape
    theta = (n - 1) // 3 + 1
    result = np.zeros(d)
    for j in range(d):
        agreement = abs(sum(int(v > 0) - int(v < 0) for v in updates[:, j]))
        result[j] = updates[:, j].mean() * (1.0 if agreement >= theta else -1.0)
    return result


def rfout(w_t: Array, updates: Array, examples: Array) -> Array:
    n, d = updates.shape
    result = np.zeros(d)
    for j in range(d):
        values = updates[:, j]
        mean = values.sum() / n
        deviation = (((values - mean) ** 2).sum() / n) ** 0.5
        result[j] = sum(mean if abs(v - mean) > 3 * deviation else v for v in values) / n
    return result


REFERENCES = {
    "krum": krum,
    "multi-krum": multi_krum,
    "bulyan": bulyan,
    "median": median,
    "trimmed-mean": trimmed_mean,
    "rfa": rfa,
    "norm-threshold": norm_threshold,
    "weak-dp": norm_threshold,
    "dp": dp,
    "rlr": rlr,
    "rfout": rfout,
}
EXACT_OPTIONS: dict[str, dict[str, object]] = {
    "norm-threshold": {"bound": 30.0},
    "weak-dp": {"bound": 30.0, "sigma": 0.0},
    "dp": {"clip": 30.0, "noise": 0.0},
}
