"""One key chooses the device, clients and server alike."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager

import torch

from fedcrucible_core.config import ConfigError

_PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_device(name: str) -> torch.device:
    """``auto`` picks cuda, then mps, then cpu. Raises ConfigError when a named device isn't there."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError("run.device", name, "no CUDA device is available; allowed here: auto, cpu")
    if device.type == "cuda" and device.index is not None and device.index >= torch.cuda.device_count():
        raise ConfigError("run.device", name, f"there are {torch.cuda.device_count()} CUDA devices, numbered from 0")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("run.device", name, "no MPS device is available; allowed here: auto, cpu")
    return device


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Autocast context of a precision (fp32, bf16, fp16); fp32 is a no-op."""
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=_PRECISIONS[precision])


@contextlib.contextmanager
def deterministic_threads(threads: int) -> Iterator[None]:
    """Run a block with a fixed number of CPU threads: the order of float sums depends on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
