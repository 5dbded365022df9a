"""Reading a record back; needs no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load

from fedcrucible_core.config.old_keys import modern
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.records import files
from fedcrucible_core.records.schema import (
    AllExampleTexts,
    Environment,
    ExampleTexts,
    RoundRecord,
    RunDescription,
    RunSummary,
)
from fedcrucible_core.records.split_table import RecordedSplit, read_split
from fedcrucible_core.records.summary import summarize
from fedcrucible_core.records.synthetic import SyntheticExamples

T = TypeVar("T", bound=BaseModel)


class DamagedRecordError(ValueError):
    """A file of a record that isn't what was written there; the text names the file and, if it has any, the line."""


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
    texts: tuple[ExampleTexts, ...] = ()
    """Example texts, where inputs are texts."""
    embeddings: tuple[Embedding, ...] = ()
    synthetic: SyntheticExamples = field(default_factory=SyntheticExamples)
    """Some of the server's synthetic data, where the run kept any."""
    split: RecordedSplit | None = None
    """What a splitter made of a suspicious set for the repair; None where nothing was split, or without arrays."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the numbers must know: the run's own notes, then those of its summary."""
        return tuple(dict.fromkeys((*self.run.notes, *self.run.history, *self.summary.notes)))


def read(folder: Path, *, arrays: bool = True) -> RecordedRun:
    """Read a record folder; ``arrays=False`` leaves examples and embeddings out.

    Raises FileNotFoundError when it is no record (no run.json), DamagedRecordError when a file in it is damaged.
    """
    folder = folder.resolve()
    if not (folder / files.RUN).is_file():
        raise FileNotFoundError(f"{folder} is no run record: it has no {files.RUN}")
    run = parsed(folder / files.RUN, RunDescription)
    rounds = read_rounds(folder / files.METRICS)
    finished = (folder / files.SUMMARY).is_file()
    summary = parsed(folder / files.SUMMARY, RunSummary) if finished else summarize(run, rounds, folder=str(folder))
    environment, texts = folder / files.ENVIRONMENT, folder / files.TEXTS
    settings = read_settings(folder)
    return RecordedRun(
        folder=folder,
        run=run,
        rounds=tuple(rounds),
        summary=summary,
        finished=finished,
        environment=parsed(environment, Environment) if environment.is_file() else None,
        config=settings.get("values", {}),
        defaults=settings.get("defaults", {}),
        examples=tuple(_examples(folder / files.EXAMPLES)) if arrays else (),
        texts=parsed(texts, AllExampleTexts).kinds if arrays and texts.is_file() else (),
        embeddings=tuple(_embeddings(folder / files.EMBEDDINGS)) if arrays else (),
        synthetic=read_synthetic(folder) if arrays else SyntheticExamples(),
        split=split_of(folder) if arrays else None,
    )


def read_synthetic(folder: Path) -> SyntheticExamples:
    """The synthetic samples that a record kept; none where it kept none. Raises DamagedRecordError."""
    path = folder / files.SYNTHETIC
    return parsed(path, SyntheticExamples) if path.is_file() else SyntheticExamples()


def split_of(folder: Path) -> RecordedSplit | None:
    """The split that a record holds; None where nothing was split. Raises DamagedRecordError."""
    try:
        return read_split(folder)
    except ValueError as error:
        raise DamagedRecordError(str(error)) from error


def read_settings(folder: Path) -> dict[str, dict[str, Scalar]]:
    """``values`` and ``defaults`` of a record's config.json, flat, under today's keys; empty where there is none.

    Raises DamagedRecordError when it is no such file.
    """
    path = folder / files.CONFIG
    if not path.is_file():
        return {}
    try:
        settings = json.loads(_content(path))
    except (ValueError, RecursionError) as error:
        raise DamagedRecordError(f"{path} is damaged: {error}") from error
    if not isinstance(settings, dict) or not all(_is_flat(part) for part in settings.values()):
        raise DamagedRecordError(f"{path} is damaged: it holds no settings")
    return {part: modern(values)[0] for part, values in settings.items()}


def _is_flat(part: object) -> bool:
    return isinstance(part, dict) and all(isinstance(value, (str, int, float)) for value in part.values())


def parsed(path: Path, kind: type[T]) -> T:
    """A JSON file of a record. Raises DamagedRecordError."""
    try:
        return kind.model_validate_json(_content(path))
    except ValidationError as error:
        raise DamagedRecordError(f"{path} is damaged: {_in_short(error)}") from error


def _content(path: Path) -> bytes:
    """Raises DamagedRecordError for what is there and can't be read, FileNotFoundError for what isn't there."""
    try:
        return path.read_bytes()
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise DamagedRecordError(f"{path} can't be read: {error.strerror or error}") from error


def read_rounds(path: Path) -> list[RoundRecord]:
    """Rounds of a metrics.jsonl; a last line that a crash cut short is left out.

    Raises DamagedRecordError with the line's number for any other line that is no round record.
    """
    return [record for record, _ in read_lines(path)]


def read_lines(path: Path, up_to: int | None = None) -> list[tuple[RoundRecord, bytes]]:
    """Rounds of a metrics.jsonl with their lines as they stand there; none where there is no file.

    With ``up_to`` reading ends with the training line of that round, whatever follows.  Raises DamagedRecordError as
    ``read_rounds`` does.
    """
    if not path.is_file():
        return []
    lines = _content(path).split(b"\n")
    rounds: list[tuple[RoundRecord, bytes]] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = RoundRecord.model_validate_json(line)
        except ValidationError as error:
            if number == len(lines):  # a complete line ends in a newline, so this one was never finished
                break
            raise DamagedRecordError(f"{path}, line {number} is damaged: {_in_short(error)}") from error
        rounds.append((record, line))
        if up_to is not None and record.stage == "training" and record.round == up_to:
            break
    return rounds


def _in_short(error: ValidationError) -> str:
    """What is wrong in one line, without what stands there."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}" if place else str(first["msg"])


def _examples(path: Path) -> list[Examples]:
    if not path.is_file():
        return []
    stored = _arrays(path)
    kinds = sorted((key.removesuffix(".images") for key in stored if key.endswith(".images")), key=_kind_order)
    return [Examples(kind.partition("-")[2], stored[f"{kind}.images"], stored.get(f"{kind}.labels")) for kind in kinds]


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        stored: dict[str, NDArray[Any]] = load(_content(path))
        return stored
    except (SafetensorError, ValueError) as error:
        raise DamagedRecordError(f"{path} is damaged: {error}") from error


def _kind_order(kind: str) -> int:
    return int(kind.partition("-")[0])


def _embeddings(folder: Path) -> list[Embedding]:
    found = []
    for path in sorted(folder.glob("*.safetensors")):
        stored = _arrays(path)
        name, marks = path.stem.partition("-")[2], stored["triggered"].astype(bool)
        found.append(Embedding(name, stored["features"], stored["labels"], marks, path))
    return found
