"""Slow, obvious float64 versions of the rules that compare clients: loops, numpy, no shared code with the rules."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from numpy.typing import NDArray

from defenses.contracts.setting import SLOTS

Array = NDArray[np.float64]
LAST = [c for slot in SLOTS if slot.name.startswith("classifier") for c in range(slot.start, slot.stop)]
"""Columns of the tiny model's classifier."""


def cosine(a: Array, b: Array) -> float:
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def mean_of(updates: Array, chosen: list[int]) -> Array:
    return np.asarray(sum(updates[i] for i in chosen)) / len(chosen)


def clipped(updates: Array) -> Array:
    norms = [float(np.linalg.norm(u)) for u in updates]
    bound = float(np.median(norms))
    return np.array([u * min(1.0, bound / norm) for u, norm in zip(updates, norms, strict=True)])


def fltrust(w_t: Array, updates: Array, examples: Array) -> Array:
    root = -0.1 * w_t
    total, sum_of_trust = np.zeros_like(w_t), 0.0
    for u in updates:
        trust = max(0.0, cosine(u, root))
        total += trust * np.linalg.norm(root) / np.linalg.norm(u) * u
        sum_of_trust += trust
    return total / sum_of_trust if sum_of_trust > 0 else total


def foolsgold(w_t: Array, updates: Array, examples: Array) -> Array:
    n = len(updates)
    history = [u[LAST] / max(1.0, float(np.linalg.norm(u))) for u in updates]
    cs = [[cosine(history[i], history[j]) if i != j else 0.0 for j in range(n)] for i in range(n)]
    v = [max(row) + 1e-5 for row in cs]
    for i in range(n):
        for j in range(n):
            if v[i] < v[j]:
                cs[i][j] *= v[i] / v[j]
    a = [min(1.0, max(0.0, 1.0 - max(row))) for row in cs]
    total, used = np.zeros_like(w_t), 0
    for u, value in zip(updates, a, strict=True):
        share = min(value / max(a), 0.99)
        weight = min(1.0, max(0.0, math.log(share / (1 - share)) + 0.5)) if share > 0 else 0.0
        total += weight * u
        used += weight > 0
    return total / max(1, used)


def fedcpa(w_t: Array, updates: Array, examples: Array) -> Array:
    """First round: there is no earlier global model to compare with."""
    n = len(updates)
    columns = [c for slot in SLOTS if len(slot.shape) in (2, 4) for c in range(slot.start, slot.stop)]
    k = max(1, int(0.01 * len(columns)))
    q = [np.abs(u[columns] * (w_t + u)[columns]) for u in updates]
    sets = [[set(np.argsort(sign * x, kind="stable")[:k].tolist()) for sign in (-1, 1)] for x in q]
    scores = []
    for i in range(n):
        total = 0.0
        for j in range(n):
            if i == j:
                continue
            for t in range(2):
                common = sorted(sets[i][t] & sets[j][t])
                rho = 0.0
                if len(common) > 1 and q[i][common].std() > 0 and q[j][common].std() > 0:
                    rho = float(np.corrcoef(q[i][common], q[j][common])[0, 1])
                total += (len(common) / len(sets[i][t] | sets[j][t]) + (rho + 1) / 2) / 2
        scores.append(total / n)
    low, high = min(scores), max(scores)
    weights = [1.0] * n
    if high - low > 1e-9:
        scaled = [min(0.99, max(0.01, (s - low) / (high - low))) for s in scores]
        weights = [min(1.0, max(0.0, math.log(s / (1 - s)) + 0.5)) for s in scaled]
    return np.asarray(sum(w * u for w, u in zip(weights, updates, strict=True))) / sum(w > 0 for w in weights)


def two_clusters(distances: Array) -> list[list[int]]:
    """Average linkage: merge the two clusters of the least mean distance until two are left."""
    clusters = [[i] for i in range(len(distances))]
    while len(clusters) > 2:
        pairs = itertools.combinations(range(len(clusters)), 2)
        a, b = min(pairs, key=lambda p: np.mean([distances[i, j] for i in clusters[p[0]] for j in clusters[p[1]]]))
        clusters[a] += clusters.pop(b)
    return clusters


def clip_cluster(w_t: Array, updates: Array, examples: Array) -> Array:
    n = len(updates)
    chosen = list(range(n))
    if n > 2:
        similar = np.array([[cosine(a, b) for b in updates] for a in updates])

        def inside(cluster: list[int]) -> float:
            return float(np.mean([similar[i, j] for i in cluster for j in cluster if i != j] or [0.0]))

        chosen = max(two_clusters(1.0 - similar), key=lambda c: (len(c), inside(c)))
    return mean_of(clipped(updates), chosen)


def mean_shift(points: Array) -> list[int]:
    """Largest cluster of a flat-kernel mean shift from bins; DBSCAN(0.05, 2) when its bandwidth is 0."""
    n = len(points)
    apart = np.array([[np.linalg.norm(a - b) for b in points] for a in points])
    neighbour = max(1, int(n * 0.5)) - 1
    h = float(np.mean([sorted(row)[neighbour] for row in apart])) * (1 + 1e-9)
    if h <= 1e-12:
        return largest_by_reach(apart)
    peaks: dict[tuple[float, ...], int] = {}
    bins = {tuple(np.round(p / h)) for p in points}
    for seed in points if len(bins) == n else [np.array(b) * h for b in bins]:
        here = np.array(seed)
        for _ in range(300):
            near = [p for p in points if np.linalg.norm(p - here) <= h]
            if not near:
                break
            moved = np.mean(near, axis=0)
            done = np.linalg.norm(moved - here) <= 1e-3 * h
            here = moved
            if done:
                break
        if near:
            peaks[tuple(here)] = len(near)
    centres: list[Array] = []
    for peak in sorted(peaks, key=lambda p: (peaks[p], p), reverse=True):
        if all(np.linalg.norm(np.array(peak) - c) > h for c in centres):
            centres.append(np.array(peak))
    members: list[list[int]] = [[] for _ in centres]
    for i, p in enumerate(points):
        reach = [float(np.linalg.norm(p - c)) for c in centres]
        if min(reach) <= h:
            members[reach.index(min(reach))].append(i)
    return max(members, key=len)


def largest_by_reach(apart: Array) -> list[int]:
    """Components of points within 0.05 of each other; lone points are noise."""
    left, best = set(range(len(apart))), list[int]()
    while left:
        group, queue = set(), [min(left)]
        while queue:
            here = queue.pop()
            if here not in group:
                group.add(here)
                queue += [j for j in left if apart[here, j] <= 0.05]
        left -= group
        if len(group) > max(1, len(best)):
            best = sorted(group)
    return best


def signs(updates: Array) -> Array:
    """Sign features on the block that the contract tests' generator (seed 3) draws."""
    d = updates.shape[1]
    size = int(0.1 * d)
    start = int(torch.randint(0, d - size + 1, (1,), generator=torch.Generator().manual_seed(3)))
    block = updates[:, start : start + size]
    found = np.array([[np.mean(row > 0), np.mean(row == 0), np.mean(row < 0)] for row in block])
    return np.array([[x / m if m > 0 else x for x, m in zip(row, found.max(axis=0), strict=True)] for row in found])


def guarded(updates: Array, features: Array) -> Array:
    norms = [float(np.linalg.norm(u)) for u in updates]
    middle = float(np.median(norms))
    band = [i for i, norm in enumerate(norms) if 0.1 < norm / middle < 3]
    chosen = [i for i in mean_shift(features) if i in band]
    return mean_of(clipped(updates), chosen or band)


def signguard(w_t: Array, updates: Array, examples: Array) -> Array:
    return guarded(updates, signs(updates))


def signguard_sim(w_t: Array, updates: Array, examples: Array) -> Array:
    n = len(updates)
    c = [float(np.median([cosine(updates[i], updates[j]) for j in range(n) if j != i])) for i in range(n) if n > 1]
    middle = float(np.median(c)) if c else 0.0
    more = [[min(max(x, 0.0), middle) / (5 * middle)] if middle > 0 else [0.0] for x in c or [0.0]]
    return guarded(updates, np.hstack([signs(updates), more]))


def freqfed(w_t: Array, updates: Array, examples: Array) -> Array:
    from tests.references.defense_references import core_by_thresholds, fedavg

    n = len(updates)
    kept: list[list[float]] = [[] for _ in range(n)]
    for slot in SLOTS:
        length = slot.stop - slot.start
        at = np.arange(length)
        for k in range(math.ceil(length / 2)):
            wave = np.cos(math.pi * k * (2 * at + 1) / (2 * length)) * math.sqrt((1 if k == 0 else 2) / length)
            for i in range(n):
                kept[i].append(float(wave @ (w_t + updates[i])[slot.start : slot.stop]))
    distances = np.array([[1.0 - cosine(np.array(a), np.array(b)) for b in kept] for a in kept])
    np.fill_diagonal(distances, 0.0)
    accepted = core_by_thresholds(distances, n // 2 + 1) if n > 2 else list(range(n))
    return fedavg(w_t, updates[accepted], examples[accepted])


Tree = tuple[list[int], "Tree | None", "Tree | None"]


def ward(points: Array) -> Tree:
    """Merge the two clusters whose union adds the least to the squares within, until one is left."""
    nodes: list[Tree] = [([i], None, None) for i in range(len(points))]

    def cost(p: tuple[int, int]) -> float:
        a, b = nodes[p[0]][0], nodes[p[1]][0]
        gap = points[a].mean(axis=0) - points[b].mean(axis=0)
        return float(gap @ gap) * len(a) * len(b) / (len(a) + len(b))

    while len(nodes) > 1:
        a, b = min(itertools.combinations(range(len(nodes)), 2), key=cost)
        right, left = nodes.pop(b), nodes.pop(a)
        nodes.append((left[0] + right[0], left, right))
    return nodes[0]


def feddmc(w_t: Array, updates: Array, examples: Array) -> Array:
    """First round: the verdict counts as it is."""
    n = len(updates)
    left, values, _ = np.linalg.svd(updates - updates.mean(axis=0), full_matrices=False)
    node = ward((left * values)[:, : min(10, max(1, n - 1))])
    while node[1] is not None and node[2] is not None:
        fewer, more = sorted((node[1], node[2]), key=lambda child: len(child[0]))
        if len(more[0]) <= n / 2:
            break
        node = more
        if len(fewer[0]) > 3:
            break
    return mean_of(updates, node[0])


def squares_within(points: Array, groups: list[list[int]]) -> float:
    return sum(float(((points[g] - points[g].mean(axis=0)) ** 2).sum()) for g in groups if g)


def auror(w_t: Array, updates: Array, examples: Array) -> Array:
    """Exact 2-means of each coordinate; of the clients by all splits up to n = 12, else by many random descents."""
    n = len(updates)
    everyone = list(range(n))
    indicative = []
    for column in LAST:
        values = np.sort(updates[:, column])
        cuts = [(float(values[:s].var() * s + values[s:].var() * (n - s)), s) for s in range(1, n)]
        if cuts:
            cut = min(cuts)[1]
            if values[cut:].mean() - values[:cut].mean() >= 0.002:
                indicative.append(column)
    if n < 3 or not indicative:
        return mean_of(updates, everyone)
    points = updates[:, indicative]
    candidates: list[list[list[int]]] = []
    if n <= 12:
        for mask in range(1, 2 ** (n - 1)):
            one = [i for i in everyone if mask >> i & 1]
            candidates.append([one, [i for i in everyone if i not in one]])
    else:
        g = np.random.default_rng(0)
        for _ in range(60):
            centres = points[g.choice(n, 2, replace=False)]
            for _ in range(30):
                near = [int(np.linalg.norm(p - centres[1]) < np.linalg.norm(p - centres[0])) for p in points]
                groups = [[i for i in everyone if near[i] == side] for side in (0, 1)]
                centres = np.array([points[side].mean(axis=0) if side else points[0] for side in groups])
            candidates.append(groups)
    best = min(candidates, key=lambda groups: squares_within(points, groups))
    if len(best[0]) == len(best[1]):
        return mean_of(updates, everyone)
    return mean_of(updates, max(best, key=len))


REFERENCES = {
    "auror": auror,
    "clip-cluster": clip_cluster,
    "fedcpa": fedcpa,
    "feddmc": feddmc,
    "fltrust": fltrust,
    "foolsgold": foolsgold,
    "freqfed": freqfed,
    "signguard": signguard,
    "signguard-sim": signguard_sim,
}
