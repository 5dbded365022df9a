"""Every random choice draws from a generator derived from (seed, purpose, numbers); no global state."""

from __future__ import annotations

import hashlib

import numpy as np
import torch


def derive_seed(seed: int, purpose: str, *numbers: int) -> int:
    """A 63-bit seed that depends on the run's seed, a purpose and e.g. (round, partition)."""
    text = "/".join([str(seed), purpose, *map(str, numbers)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def torch_generator(seed: int, purpose: str, *numbers: int) -> torch.Generator:
    """A CPU torch generator for one purpose; draws on the CPU so that every device sees the same numbers."""
    return torch.Generator().manual_seed(derive_seed(seed, purpose, *numbers))


def numpy_generator(seed: int, purpose: str, *numbers: int) -> np.random.Generator:
    """A numpy generator for one purpose."""
    return np.random.default_rng(derive_seed(seed, purpose, *numbers))
