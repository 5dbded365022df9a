"""Which images of a split are used: stratified subsets and long tails."""

from __future__ import annotations

import math

import numpy as np

from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.partition.base import Labels


def stratified_order(labels: Labels, rng: np.random.Generator) -> Labels:
    """A random order of all images in which each prefix holds every class in proportion, to within one image or so.

    ``labels`` int64 ``[M]``; returns a permutation of 0..M-1.  Each class is shuffled and spread evenly over the whole
    order, so larger subsets contain smaller ones.
    """
    position = np.empty(len(labels))
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        position[members] = (np.arange(len(members)) + 0.5) / len(members)
    return np.lexsort((rng.random(len(labels)), position))


def long_tail_counts(n_max: int, imbalance_factor: float, num_classes: int) -> list[int]:
    """n_i = floor(n_max * (1/IF)^(i/(C-1))) for i = 0..C-1 (cui2019; docs/choices.md#long-tail).

    Raises:
        ConfigError: the factor would leave the last class empty.
    """
    if num_classes == 1:
        return [n_max]
    exact = [n_max * (1.0 / imbalance_factor) ** (i / (num_classes - 1)) for i in range(num_classes)]
    counts = [math.floor(value + 1e-9) for value in exact]  # 1e-9: 4999.9999999 is 5000
    if counts[-1] < 1:
        allowed = f"allowed: 1 to {n_max}, the size of the largest class (else the last class is empty)"
        raise ConfigError("task.imbalance_factor", imbalance_factor, allowed)
    return counts


def long_tail(labels: Labels, imbalance_factor: float, num_classes: int, rng: np.random.Generator) -> Labels:
    """Ascending indices of a long-tailed subset of ``labels`` int64 ``[M]``.

    n_max is the size of the largest class; a class that holds fewer images than its count gives all it has.
    """
    sizes = np.bincount(labels, minlength=num_classes)
    counts = long_tail_counts(int(sizes.max()), imbalance_factor, num_classes)
    kept = [rng.permutation(np.flatnonzero(labels == label))[:count] for label, count in enumerate(counts)]
    return np.sort(np.concatenate(kept))
