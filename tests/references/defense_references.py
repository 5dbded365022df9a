"""Slow, obvious float64 versions of every rule: loops over clients, numpy only, no shared code with the rules."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tests.references import distance_references, similarity_references

Array = NDArray[np.float64]


def core_by_thresholds(distances: Array, size: int) -> list[int]:
    """Raise a threshold through all distances; the first one whose graph has a component of ``size`` points wins."""
    n = len(distances)
    for threshold in sorted({float(distances[i, j]) for i in range(n) for j in range(n)}):
        for start in range(n):
            reached, queue = {start}, [start]
            while queue:
                here = queue.pop()
                for there in range(n):
                    if there not in reached and distances[here, there] <= threshold:
                        reached.add(there)
                        queue.append(there)
            if len(reached) >= size:
                return sorted(reached)
    raise AssertionError("no component is large enough")


def fedavg(w_t: Array, updates: Array, examples: Array) -> Array:
    total = np.zeros(updates.shape[1])
    for u, d in zip(updates, examples, strict=True):
        total += d * u
    return np.asarray(total / examples.sum())


def flame(w_t: Array, updates: Array, examples: Array) -> Array:
    """FLAME without noise."""
    n = len(updates)
    distances = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            a, b = w_t + updates[i], w_t + updates[j]
            if i != j:
                distances[i, j] = 1.0 - a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
    accepted = core_by_thresholds(distances, n // 2 + 1) if n > 2 else list(range(n))
    norms = [float(np.linalg.norm(u)) for u in updates]
    bound = float(np.median(norms))
    clipped = [updates[i] * min(1.0, bound / norms[i]) for i in accepted]
    return np.asarray(sum(clipped)) / len(accepted)


def clip_fed_filter(w_t: Array, updates: Array, examples: Array) -> Array:
    n = len(updates)
    centred = updates - updates.mean(axis=0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    r = min(10, max(2, n // 3)) if n <= 15 else min(10, n - 1)
    scores = (left * values)[:, :r]
    distances = np.array([[np.linalg.norm(a - b) for b in scores] for a in scores])
    accepted = core_by_thresholds(distances, n // 2 + 1) if n > 2 else list(range(n))
    return fedavg(w_t, updates[accepted], examples[accepted])


REFERENCES = {"fedavg": fedavg, "flame": flame, "clip-fed-filter": clip_fed_filter}
REFERENCES |= similarity_references.REFERENCES
REFERENCES |= distance_references.REFERENCES
EXACT_OPTIONS: dict[str, dict[str, object]] = {"flame": {"noise": 0.0}}
"""Options that make a rule deterministic arithmetic, so that the reference can match it."""
EXACT_OPTIONS |= distance_references.EXACT_OPTIONS
