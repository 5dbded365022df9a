"""Every random choice draws from a generator derived from (seed, purpose, numbers); no global state."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator

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


@contextlib.contextmanager
def global_chance(rng: torch.Generator, device: torch.device) -> Iterator[None]:
    """Inside, torch's global generators follow from the state of ``rng``; afterwards they are as they were.

    For layers that take no generator (dropout).  ``rng`` itself stays where it stands: what else draws from it draws
    the same with and without such layers.
    """
    state = hashlib.sha256(rng.get_state().numpy().tobytes()).digest()
    seed = int.from_bytes(state[:8], "big") >> 1
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(seed)
        if device.type != "cpu":
            torch.get_device_module(device).manual_seed(seed)
        yield
