"""Slow, obvious float64 versions of DeepSight, FLDetector, CRFL, pruning and FLPurifier; numpy only."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from defenses.contracts.setting import SLOTS, D
from tests.references.defense_references import fedavg

Array = NDArray[np.float64]
CLASSES = 5
WEIGHT = next(slot for slot in SLOTS if slot.name == "classifier.weight")
BIAS = next(slot for slot in SLOTS if slot.name == "classifier.bias")


def hdbscan_by_levels(distances: Array, smallest: int) -> list[set[int]]:
    """HDBSCAN (min_samples 1, excess of mass, no single cluster) straight from its definition.

    Every distinct distance is a level; the components at a level that hold ``smallest`` points are candidates, followed
    from the level at which they appear to the one below which they break up.
    """
    n = len(distances)
    core = [sorted(distances[i])[1] for i in range(n)] if n > 1 else [0.0]
    reach = np.array([[max(distances[i, j], core[i], core[j]) for j in range(n)] for i in range(n)])
    levels = sorted({reach[i, j] for i, j in combinations(range(n), 2)}, reverse=True)

    def components(points: frozenset[int], below: float) -> list[frozenset[int]]:
        left, found = set(points), []
        while left:
            reached, queue = set(), [left.pop()]
            while queue:
                here = queue.pop()
                reached.add(here)
                new = {p for p in left if reach[here, p] < below}
                left -= new
                queue += new
            found.append(frozenset(reached))
        return found

    def best(points: frozenset[int], born: float) -> tuple[float, list[set[int]]]:
        """Stability and clusters of the branch that begins with ``points`` at density ``born``."""
        whole, stability = points, 0.0
        for level in levels:
            parts = components(points, level)
            if parts == [points]:
                continue
            density = 1.0 / level if level > 0 else np.inf
            large = [part for part in parts if len(part) >= smallest]
            if len(large) == 1:
                stability += (len(points) - len(large[0])) * (density - born)
                points = large[0]
                continue
            stability += len(points) * (density - born)
            below = [best(part, density) for part in large]
            total = sum(value for value, _ in below)
            if below and total > stability:
                return total, [c for _, chosen in below for c in chosen]
            return stability, [set(whole)]
        raise AssertionError("single points are never split")

    everything = frozenset(range(n))
    for level in levels:
        large = [part for part in components(everything, level) if len(part) >= smallest]
        if len(large) == 1:
            everything = large[0]
            continue
        density = 1.0 / level if level > 0 else np.inf
        return [c for part in large for c in best(part, density)[1]]
    return []


def apart(distances: Array) -> Array:
    n, clusters = len(distances), hdbscan_by_levels(distances, 2)
    result = np.ones((n, n))
    for i in range(n):
        for j in range(n):
            if i == j or any(i in c and j in c for c in clusters):
                result[i, j] = 0.0
    return result


def deepsight(w_t: Array, updates: Array, examples: Array) -> Array:
    """DeepSight without DDif."""
    n = len(updates)
    weights = updates[:, WEIGHT.start : WEIGHT.stop].reshape(n, CLASSES, -1)
    biases = updates[:, BIAS.start : BIAS.stop]
    neups, exceedings = [], []
    for i in range(n):
        energy = np.array([abs(biases[i, c]) + sum(abs(weights[i, c])) for c in range(CLASSES)])
        neup = energy**2 / sum(energy**2)
        neups.append(neup)
        exceedings.append(sum(neup > max(0.01, 1 / CLASSES) * max(neup)))
    suspicious = [te <= np.median(exceedings) / 2 for te in exceedings]
    cosine, euclid = np.zeros((n, n)), np.zeros((n, n))
    for i, j in combinations(range(n), 2):
        a, b = biases[i], biases[j]
        cosine[i, j] = cosine[j, i] = 1 - a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
        euclid[i, j] = euclid[j, i] = np.linalg.norm(neups[i] - neups[j])
    final = hdbscan_by_levels((apart(cosine) + apart(euclid)) / 2, 2)
    groups = final + [{i} for i in range(n) if not any(i in c for c in final)]
    accepted = sorted(i for group in groups if sum(suspicious[k] for k in group) / len(group) < 1 / 3 for i in group)
    norms = [float(np.linalg.norm(u)) for u in updates]
    total = np.zeros(updates.shape[1])
    for i in accepted:
        total += updates[i] * min(1.0, float(np.median(norms)) / norms[i])
    return total / max(1, len(accepted))


def first_round_of_fldetector(w_t: Array, updates: Array, examples: Array) -> Array:
    return np.asarray(sum(updates)) / len(updates)


def crfl(w_t: Array, updates: Array, examples: Array) -> Array:
    """CRFL's round 1 without noise: the clipped model, minus the one that was sent."""
    model = w_t + fedavg(w_t, updates, examples)
    return model * min(1.0, 2.1 / float(np.linalg.norm(model))) - w_t


def flpurifier(w_t: Array, updates: Array, examples: Array) -> Array:
    n = len(updates)
    result = np.asarray(sum(updates)) / n
    own = list(range(WEIGHT.start, WEIGHT.stop)) + list(range(BIAS.start, BIAS.stop))
    models = [w_t[own] + u[own] for u in updates]
    middle = np.median(np.array(models), axis=0)
    cosines = [m @ middle / (np.linalg.norm(m) * np.linalg.norm(middle)) for m in models]
    shares = np.array([np.exp(c) for c in cosines])
    shares /= shares.sum()
    result[own] = sum(s * u[own] for s, u in zip(shares, updates, strict=True))
    return result


assert BIAS.stop == D, "the classifier is the end of the vector"
REFERENCES = {
    "deepsight": deepsight,
    "fldetector": first_round_of_fldetector,
    "crfl": crfl,
    "flpurifier": flpurifier,
}
EXACT_OPTIONS: dict[str, dict[str, object]] = {"deepsight": {"noise_seeds": 0}, "crfl": {"sigma": 0.0}}
LIGHT_OPTIONS: dict[str, dict[str, object]] = {"deepsight": {"noise_samples": 40, "noise_seeds": 2}}
"""Options that make a costly rule cheap without switching any of its parts off."""
