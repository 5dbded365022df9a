"""Diagnostics of a round's updates beside the record's lines: one file a round, which other rules can judge again."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from fedcrucible_core.config.atomic_file import write_atomic
from fedcrucible_core.learning.weights import Prototype
from fedcrucible_core.records.reader import DamagedRecordError

_NAME = re.compile(r"round-(\d{7})\.safetensors")
Diagnostics = Mapping[Prototype, Mapping[str, Tensor]]
"""Named tensors of each prototype's clients."""


def write_diagnostics(folder: Path, round: int, found: Diagnostics) -> Path:
    """Write ``round-N.safetensors`` in one step. Raises OSError that names the file."""
    content = {
        f"{place}.{name}": tensors[name].detach().cpu().contiguous().clone()
        for place, tensors in enumerate(found.values())
        for name in sorted(tensors)
    }
    path = folder / f"round-{round:07d}.safetensors"
    write_atomic(path, save(content, metadata={"prototypes": json.dumps(list(found))}))
    return path


def read_diagnostics(folder: Path) -> dict[int, dict[Prototype, dict[str, Tensor]]]:
    """Round to what was kept of it, in order; empty where nothing was. Raises DamagedRecordError."""
    found = {}
    for path in sorted(folder.glob("round-*.safetensors")):
        match = _NAME.fullmatch(path.name)
        if match is not None:
            found[int(match[1])] = _read(path)
    return found


def forget_diagnostics(folder: Path, round: int) -> None:
    """Delete those of later rounds."""
    for path in folder.glob("round-*.safetensors"):
        match = _NAME.fullmatch(path.name)
        if match is not None and int(match[1]) > round:
            path.unlink(missing_ok=True)


def _read(path: Path) -> dict[Prototype, dict[str, Tensor]]:
    try:
        with safe_open(str(path), framework="pt") as stored:
            prototypes: list[str] = json.loads((stored.metadata() or {})["prototypes"])
            tensors: dict[str, torch.Tensor] = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedRecordError(f"{path} is damaged: {error}") from error
    found: dict[Prototype, dict[str, Tensor]] = {prototype: {} for prototype in prototypes}
    for key, tensor in tensors.items():
        place, _, name = key.partition(".")
        if not place.isdigit() or int(place) >= len(prototypes):
            raise DamagedRecordError(f"{path} is damaged: it says nothing of {key}")
        found[prototypes[int(place)]][name] = tensor
    return found
