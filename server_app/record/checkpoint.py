"""Checkpoints: the global model and every component's state, bit for bit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from server_app.record.files import write_atomic

State = Mapping[str, Mapping[str, Tensor]]
"""Component -> its named tensors."""


@dataclass(frozen=True)
class Checkpoint:
    """The run after ``round`` rounds."""

    round: int
    parameters: Tensor
    buffers: Tensor
    state: dict[str, dict[str, Tensor]]


def write_checkpoint(
    folder: Path, round: int, parameters: Tensor, buffers: Tensor, state: State, *, keep: int = 2
) -> Path:
    """Write ``round-N.safetensors`` in one step and delete all but the newest ``keep`` checkpoints."""
    tensors = {"parameters": _owned(parameters), "buffers": _owned(buffers)}
    layout: dict[str, dict[str, str]] = {}
    for owner, named in state.items():
        layout[owner] = {}
        for name, tensor in named.items():
            key = f"state.{len(tensors) - 2}"
            layout[owner][name] = key
            tensors[key] = _owned(tensor)
    path = folder / f"round-{round:07d}.safetensors"
    write_atomic(path, save(tensors, metadata={"round": str(round), "state": json.dumps(layout)}))
    for old in _newest_first(folder)[max(keep, 1) :]:
        old.unlink(missing_ok=True)
    return path


def latest_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest checkpoint that can be read, or None; a damaged file is passed over."""
    for path in _newest_first(folder):
        try:
            return read_checkpoint(path)
        except (SafetensorError, OSError, KeyError, ValueError):
            continue
    return None


def read_checkpoint(path: Path) -> Checkpoint:
    """Read one checkpoint file."""
    with safe_open(str(path), framework="pt") as stored:
        facts = stored.metadata()
        layout: dict[str, dict[str, str]] = json.loads(facts["state"])
        return Checkpoint(
            int(facts["round"]),
            stored.get_tensor("parameters"),
            stored.get_tensor("buffers"),
            {owner: {name: stored.get_tensor(k) for name, k in named.items()} for owner, named in layout.items()},
        )


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("round-*.safetensors"), reverse=True)


def _owned(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous().clone()
