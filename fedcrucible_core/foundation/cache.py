"""Results kept on disk by content, so that each fresh process doesn't compute them again.

A cache file is safetensors. It is written beside its place and then moved there, so that a reader sees a whole file or
none, however many processes write at once. A file that can't be read is a warning and a miss, never an error.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from fedcrucible_core.config.atomic_file import write_atomic


def digest(*parts: str | bytes | Tensor) -> str:
    """sha256 of the parts in order; a tensor counts with its type, shape and bytes."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            dense = part.detach().cpu().contiguous()
            head = f"{dense.dtype}{tuple(dense.shape)}".encode()
            body: bytes | memoryview = dense.numpy().reshape(-1).view("uint8").data
        else:
            head, body = type(part).__name__.encode(), part.encode() if isinstance(part, str) else part
        total.update(hashlib.sha256(head).digest() + hashlib.sha256(body).digest())
    return total.hexdigest()


def arithmetic(device: torch.device) -> str:
    """What the last bits of a float result depend on besides its inputs; part of the key of whatever is computed.

    So a cache holds what this process would compute, whoever filled it: under another number of threads, or on another
    machine or version, the same sums round differently.
    """
    if device.type == "cuda":
        place = torch.cuda.get_device_name(device)
    elif device.type == "cpu":
        place = f"{torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads"
    else:
        place = ""
    return f"{device.type} {place}, torch {torch.__version__}, {torch.get_float32_matmul_precision()}"


def files_digest(files: Iterable[Path]) -> str:
    """sha256 of the names and contents of files; remembered in this process while size and time stay."""
    return digest(*(f"{path.name} {_file_digest(path, *_stamp(path))}" for path in sorted(files)))


def model_files(folder: Path) -> list[Path]:
    """The files of a model's folder that decide what it computes: no hidden ones, no model card."""
    files = [path for path in folder.iterdir() if path.is_file()]
    return [path for path in files if not path.name.startswith(".") and path.suffix.lower() != ".md"]


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=256)
def _file_digest(path: Path, size: int, changed: int) -> str:  # noqa: ARG001 - size and time are part of the key
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    """Tensors and text entries of a cache file; None where there is none or (with a warning) it can't be read."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: plain(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
            return tensors, dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        warn_unusable(path, error)
        return None


def plain(tensor: Tensor) -> Tensor:
    """A copy in memory of its own on the CPU, with the strides of a fresh tensor of its shape.

    Strides and alignment can change the last bit of a product, so what is computed now and what comes from a file
    (whose tensors lie at any offset) must be brought to the same form before use.
    """
    return torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor.detach())


def warn_unusable(path: Path, reason: object) -> None:
    """Warn that a cache file is passed over and will be made again."""
    warnings.warn(f"cache file {path} can't be used ({reason}); computing it again", RuntimeWarning, stacklevel=3)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], text: Mapping[str, str] | None = None) -> None:
    """Write a cache file in one step; a folder that can't be written is a warning."""
    content = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        write_atomic(path, save(content, metadata=dict(text or {})))
    except OSError as error:
        warnings.warn(f"can't write cache file {path} ({error}); going on without it", RuntimeWarning, stacklevel=2)


def usable(tensor: Tensor | None, shape: tuple[int, ...]) -> bool:
    """Whether a cached tensor has the shape (-1 = any) and holds finite numbers."""
    if tensor is None or tensor.ndim != len(shape):
        return False
    fits = all(want in (-1, have) for want, have in zip(shape, tensor.shape, strict=True))
    return fits and bool(torch.isfinite(tensor).all())


@contextlib.contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Inside, no other process that asks for the same file: the second one waits, and finds what the first has made.

    Where a folder can't be written or the system has no such locks, this does nothing.
    """
    try:
        import fcntl

        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o666)
    except (ImportError, OSError):
        yield
        return
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)  # lets go of it too
