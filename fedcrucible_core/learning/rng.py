"""Every random choice draws from a generator derived from (seed, purpose, numbers); no global state."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar

import numpy as np
import torch

_TOLD: ContextVar[Mapping[str, int]] = ContextVar("told_seeds", default={})  # noqa: B039


def seed_name(purpose: str, *numbers: int) -> str:
    """What a seed is called beside the run's own."""
    return "/".join([purpose, *map(str, numbers)])


@contextlib.contextmanager
def told_seeds(seeds: Mapping[str, int]) -> Iterator[None]:
    """Inside, seeds of these names are what is said here, whatever the run's seed: for who isn't told that one."""
    before = _TOLD.set(seeds)
    try:
        yield
    finally:
        _TOLD.reset(before)


def derive_seed(seed: int, purpose: str, *numbers: int) -> int:
    """A 63-bit seed that depends on the run's seed, a purpose and e.g. (round, partition)."""
    name = seed_name(purpose, *numbers)
    told = _TOLD.get().get(name)
    if told is not None:
        return told
    text = f"{seed}/{name}"
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
