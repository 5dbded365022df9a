"""Which test images the feature plot shows (docs/choices.md#feature-plot)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def embedding_sample(
    labels: NDArray[np.int64],
    attacked: NDArray[np.bool_] | None,
    seed: int,
    *,
    size: int = 2000,
    triggered: int = 100,
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Choose ``size`` class-balanced images and mark ``triggered`` of those that ``attacked`` (bool ``[n]``) allows.

    Returns ascending indices into ``labels`` and a mask over them: True = embed the triggered copy of that image.
    With fewer images than ``size`` the triggered share stays the same. ``attacked=None`` (no attack) marks none.
    """
    rng = np.random.default_rng([seed, 13])
    quota = max(1, size // max(1, len(np.unique(labels))))
    chosen = [rng.permutation(np.flatnonzero(labels == c))[:quota] for c in np.unique(labels)]
    indices = np.sort(np.concatenate(chosen)).astype(np.int64) if chosen else np.zeros(0, np.int64)
    mask = np.zeros(len(indices), dtype=bool)
    if attacked is not None and len(indices):
        candidates = np.flatnonzero(attacked[indices])
        count = min(len(candidates), max(1, round(triggered * len(indices) / size)))
        mask[rng.permutation(candidates)[:count]] = True
    return indices, mask
