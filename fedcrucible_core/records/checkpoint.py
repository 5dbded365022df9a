"""Checkpoints: the global model and every component's state, bit for bit, with what proves that they are whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from fedcrucible_core.config.atomic_file import write_atomic
from fedcrucible_core.learning.weights import SOLE, Population, Prototype, Weights
from fedcrucible_core.records.tensor_bytes import tensor_bytes

State = Mapping[str, Mapping[str, Tensor]]
"""Component -> its named tensors."""
PARAMETERS, BUFFERS, BOUNDS = "parameters", "buffers", "bounds."


class DamagedCheckpointError(ValueError):
    """A file that is no whole checkpoint; the text says why, without the file's name."""


@dataclass(frozen=True)
class Checkpoint:
    """The run after ``round`` rounds."""

    round: int
    population: Population
    state: dict[str, dict[str, Tensor]]
    identity: str = ""
    """Of which run it is: see ``server_app.identity.run_identity``."""
    seconds: float = 0.0
    """Wall-clock seconds of the run so far, over all processes that worked on it."""


def write_checkpoint(folder: Path, checkpoint: Checkpoint, *, keep: int = 2) -> Path:
    """Write ``round-N.safetensors`` in one step and delete all but the newest ``keep`` checkpoints; none with 0.

    Raises OSError that names the file; older checkpoints are then still there.
    """
    tensors: dict[str, Tensor] = {}
    for prototype, weights in checkpoint.population.items():
        tensors[_key(prototype, PARAMETERS)] = _owned(weights.parameters)
        tensors[_key(prototype, BUFFERS)] = _owned(weights.buffers)
        tensors |= {_key(prototype, f"{BOUNDS}{module}"): _owned(bound) for module, bound in weights.bounds.items()}
    held = len(tensors)
    layout: dict[str, dict[str, str]] = {}
    for owner, named in checkpoint.state.items():
        layout[owner] = {}
        for name, tensor in named.items():
            key = f"state.{len(tensors) - held}"
            layout[owner][name] = key
            tensors[key] = _owned(tensor)
    facts = {
        "round": str(checkpoint.round),
        "state": json.dumps(layout),
        "identity": checkpoint.identity,
        "seconds": repr(float(checkpoint.seconds)),
    }
    if list(checkpoint.population) != [SOLE]:
        facts["prototypes"] = json.dumps(list(checkpoint.population))
    path = folder / _file_name(checkpoint.round)
    write_atomic(path, tensor_bytes(tensors, {**facts, "sha256": _checksum(facts, tensors)}))
    for old in _newest_first(folder)[keep:] if keep > 0 else []:
        old.unlink(missing_ok=True)
    return path


def latest_checkpoint(
    folder: Path, damaged: Callable[[str], None] = lambda _: None, before: int | None = None
) -> Checkpoint | None:
    """The newest whole checkpoint, or None; ``damaged`` is told of each newer one that had to be passed over.

    With ``before`` only those of earlier rounds count.
    """
    for path in _newest_first(folder):
        if before is not None and path.name >= _file_name(before):
            continue
        try:
            return read_checkpoint(path)
        except DamagedCheckpointError as error:
            damaged(f"checkpoint {path.name} is damaged ({error}) and was passed over")
    return None


def rounds_of(folder: Path) -> list[int]:
    """The rounds of all checkpoint files, ascending, whole or not."""
    numbers = (path.stem.removeprefix("round-") for path in _newest_first(folder))
    return sorted(int(number) for number in numbers if number.isdigit())


def read_checkpoint(path: Path) -> Checkpoint:
    """Read one checkpoint file. Raises DamagedCheckpointError for anything that ``write_checkpoint`` didn't write."""
    try:
        with safe_open(str(path), framework="pt") as stored:
            facts: dict[str, str] = stored.metadata() or {}
            tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedCheckpointError(f"not readable as safetensors: {error}") from error
    expected = facts.pop("sha256", None)
    if expected is None:
        raise DamagedCheckpointError("it has no checksum, so another program or an older version wrote it")
    if expected != _checksum(facts, tensors):
        raise DamagedCheckpointError("its content differs from its checksum")
    try:
        layout: dict[str, dict[str, str]] = json.loads(facts["state"])
        return Checkpoint(
            int(facts["round"]),
            {
                prototype: _weights(prototype, tensors)
                for prototype in json.loads(facts.get("prototypes", json.dumps([SOLE])))
            },
            {owner: {name: tensors[key] for name, key in named.items()} for owner, named in layout.items()},
            facts["identity"],
            float(facts["seconds"]),
        )
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise DamagedCheckpointError(f"its description is incomplete: {error}") from error


def forget_after(folder: Path, round: int) -> None:
    """Delete the checkpoints of later rounds: what is written from now on must not look older than they."""
    for path in _newest_first(folder):
        if path.name > _file_name(round):
            path.unlink(missing_ok=True)


def _file_name(round: int) -> str:
    return f"round-{round:07d}.safetensors"


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("round-*.safetensors"), reverse=True)


def _key(prototype: Prototype, part: str) -> str:
    """Name of a tensor in the file; of a sole prototype as it was before there could be several."""
    return part if prototype == SOLE else f"{prototype}/{part}"


def _weights(prototype: Prototype, tensors: Mapping[str, Tensor]) -> Weights:
    start = _key(prototype, BOUNDS)
    bounds = {key.removeprefix(start): bound for key, bound in tensors.items() if key.startswith(start)}
    return Weights(tensors[_key(prototype, PARAMETERS)], tensors[_key(prototype, BUFFERS)], bounds)


def _owned(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous().clone()


def _checksum(facts: Mapping[str, str], tensors: Mapping[str, Any]) -> str:
    """SHA-256 over the description and every tensor's name, type, shape and bytes."""
    digest = hashlib.sha256(json.dumps(dict(facts), sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else b"")
    return digest.hexdigest()
