"""Names of a record's files, lines added to them, and what is left of writers that were killed."""

from __future__ import annotations

import os
import re
from pathlib import Path

from fedcrucible_core.config.atomic_file import PART, naming

RUN = "run.json"
CONFIG = "config.json"
CONFIG_TOML = "config.toml"
ENVIRONMENT = "environment.json"
METRICS = "metrics.jsonl"
SUMMARY = "summary.json"
MODEL = "model.safetensors"
EXAMPLES = "examples.safetensors"
TEXTS = "examples.json"
SYNTHETIC = "synthetic.json"
EMBEDDINGS = "embeddings"
CHECKPOINTS = "checkpoints"
DIAGNOSTICS = "diagnostics"
SPLIT = "split.csv"
SPLIT_FACTS = "split.json"
PURIFIED = "purified.safetensors"
REPORT = "report.html"
SITES = "sites.json"
EVENTS = "events.jsonl"
STATUS = "status.json"
PROMETHEUS = "metrics.prom"
FILES = (
    RUN, CONFIG, CONFIG_TOML, ENVIRONMENT, METRICS, SUMMARY, MODEL, EXAMPLES, TEXTS, SYNTHETIC, SPLIT, SPLIT_FACTS,
    PURIFIED, REPORT, EVENTS, STATUS, PROMETHEUS, SITES,
)  # fmt: skip
FOLDERS = (EMBEDDINGS, CHECKPOINTS, DIAGNOSTICS)


def model_of(prototype: str) -> str:
    """Name of the file of one of several prototypes' models."""
    stem, dot, ending = MODEL.partition(".")
    return f"{stem}-{re.sub(r'[^A-Za-z0-9_-]', '_', prototype)}{dot}{ending}"


def models_in(folder: Path) -> list[Path]:
    """The files of the final models that lie in a record, the one that rates are about first."""
    stem, dot, ending = MODEL.partition(".")
    return [path for path in (folder / MODEL, *sorted(folder.glob(f"{stem}-*{dot}{ending}"))) if path.is_file()]


def append_line(path: Path, line: bytes) -> None:
    """Append one line and bring it to the disk; a last line that a crash cut short is cut off first.

    Raises OSError that names ``path``.
    """
    with naming(path), path.open("a+b") as stream:
        size = stream.seek(0, os.SEEK_END)
        if size:
            stream.seek(size - 1)
            if stream.read(1) != b"\n":
                stream.seek(0)
                stream.truncate(stream.read().rfind(b"\n") + 1)
        stream.write(line + b"\n")
        stream.flush()
        os.fsync(stream.fileno())


def require_room(folder: Path) -> None:
    """Raise OSError that names ``folder`` where its files of text can't be written anew beside the old ones."""
    texts = [folder / name for name in (RUN, CONFIG, CONFIG_TOML, ENVIRONMENT, METRICS)]
    needed = sum(path.stat().st_size for path in texts if path.is_file())
    part = folder / f".room.{os.getpid()}.part"
    with naming(folder):
        try:
            with part.open("wb") as stream:
                stream.write(bytes(needed))
                stream.flush()
                os.fsync(stream.fileno())
        finally:
            part.unlink(missing_ok=True)


def remove_parts(folder: Path) -> None:
    """Remove what killed processes had half written in a record's folders; for the record's only writer."""
    for place in (folder, *(folder / name for name in FOLDERS)):
        for part in place.glob(".*.part"):
            if PART.fullmatch(part.name) and part.is_file():
                part.unlink(missing_ok=True)


def in_the_way(folder: Path) -> Path | None:
    """What stands where a record's file or folder is to be written and can't be replaced; None where nothing does."""
    kept = [folder / name for name in FOLDERS]
    written = [folder / name for name in FILES] + [p for place in kept for p in sorted(place.glob("*.safetensors"))]
    blocking = [p for p in kept if os.path.lexists(p) and not p.is_dir()]
    blocking += [p for p in written if p.is_dir() and not p.is_symlink()]
    return blocking[0] if blocking else None
