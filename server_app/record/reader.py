"""Reading a record back; needs no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors.numpy import load

from server_app.record import files
from server_app.record.schema import Environment, RoundRecord, RunDescription, RunSummary
from server_app.record.summary import summarize

Scalar = str | int | float | bool


@dataclass(frozen=True)
class Examples:
    """Images of one kind (clean, triggered, ...): uint8 ``[n, C, H, W]``, with labels ``[n]`` where there are any."""

    kind: str
    images: NDArray[np.uint8]
    labels: NDArray[np.int64] | None


@dataclass(frozen=True)
class Embedding:
    """Features ``[n, D]`` of test images, their true labels, and which of them carry the trigger."""

    name: str
    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    triggered: NDArray[np.bool_]
    path: Path


@dataclass(frozen=True)
class RecordedRun:
    """Everything in a record folder that a report or a comparison uses."""

    folder: Path
    run: RunDescription
    rounds: tuple[RoundRecord, ...]
    summary: RunSummary
    finished: bool
    """False when there is no summary.json (the run still goes, or died): the summary is made from its rounds."""
    environment: Environment | None = None
    config: Mapping[str, Scalar] = field(default_factory=dict)
    defaults: Mapping[str, Scalar] = field(default_factory=dict)
    examples: tuple[Examples, ...] = ()
    embeddings: tuple[Embedding, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the numbers must know: the run's own notes, then those of its summary."""
        return tuple(dict.fromkeys((*self.run.notes, *self.summary.notes)))


def read(folder: Path, *, arrays: bool = True) -> RecordedRun:
    """Read a record folder; ``arrays=False`` leaves example images and embeddings out.

    Raises FileNotFoundError when it is no record (no run.json), ValueError when a file in it is damaged.
    """
    folder = folder.resolve()
    if not (folder / files.RUN).is_file():
        raise FileNotFoundError(f"{folder} is no run record: it has no {files.RUN}")
    run = RunDescription.model_validate_json((folder / files.RUN).read_bytes())
    rounds = read_rounds(folder / files.METRICS)
    finished = (folder / files.SUMMARY).is_file()
    summary = (
        RunSummary.model_validate_json((folder / files.SUMMARY).read_bytes())
        if finished
        else summarize(run, rounds, folder=str(folder))
    )
    environment = folder / files.ENVIRONMENT
    config = folder / files.CONFIG
    settings: dict[str, dict[str, Scalar]] = json.loads(config.read_bytes()) if config.is_file() else {}
    return RecordedRun(
        folder=folder,
        run=run,
        rounds=tuple(rounds),
        summary=summary,
        finished=finished,
        environment=Environment.model_validate_json(environment.read_bytes()) if environment.is_file() else None,
        config=settings.get("values", {}),
        defaults=settings.get("defaults", {}),
        examples=tuple(_examples(folder / files.EXAMPLES)) if arrays else (),
        embeddings=tuple(_embeddings(folder / files.EMBEDDINGS)) if arrays else (),
    )


def read_rounds(path: Path) -> list[RoundRecord]:
    """Rounds of a metrics.jsonl; a last line that a crash cut short is left out.

    Raises ValueError with the line's number for any other line that is no round record.
    """
    if not path.is_file():
        return []
    lines = path.read_bytes().split(b"\n")
    rounds = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            rounds.append(RoundRecord.model_validate_json(line))
        except ValidationError as error:
            if number == len(lines):  # a complete line ends in a newline, so this one was never finished
                break
            raise ValueError(f"{path}, line {number}: {error}") from error
    return rounds


def _examples(path: Path) -> list[Examples]:
    if not path.is_file():
        return []
    stored: dict[str, NDArray[Any]] = load(path.read_bytes())
    kinds = sorted((key.removesuffix(".images") for key in stored if key.endswith(".images")), key=_kind_order)
    return [Examples(kind.partition("-")[2], stored[f"{kind}.images"], stored.get(f"{kind}.labels")) for kind in kinds]


def _kind_order(kind: str) -> int:
    return int(kind.partition("-")[0])


def _embeddings(folder: Path) -> list[Embedding]:
    found = []
    for path in sorted(folder.glob("*.safetensors")):
        stored: dict[str, NDArray[Any]] = load(path.read_bytes())
        name, marks = path.stem.partition("-")[2], stored["triggered"].astype(bool)
        found.append(Embedding(name, stored["features"], stored["labels"], marks, path))
    return found
