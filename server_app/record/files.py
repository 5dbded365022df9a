"""Names of a record's files, and writing them so that a crash leaves the old or the new one, never half."""

from __future__ import annotations

import os
from pathlib import Path

RUN = "run.json"
CONFIG = "config.json"
CONFIG_TOML = "config.toml"
ENVIRONMENT = "environment.json"
METRICS = "metrics.jsonl"
SUMMARY = "summary.json"
MODEL = "model.safetensors"
EXAMPLES = "examples.safetensors"
EMBEDDINGS = "embeddings"
CHECKPOINTS = "checkpoints"
REPORT = "report.html"


def write_atomic(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content`` in one step; its folder is created when missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.parent / f".{path.name}.{os.getpid()}.part"
    try:
        with part.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def append_line(path: Path, line: bytes) -> None:
    """Append one line and bring it to the disk; a last line that a crash cut short is cut off first."""
    with path.open("a+b") as stream:
        size = stream.seek(0, os.SEEK_END)
        if size:
            stream.seek(size - 1)
            if stream.read(1) != b"\n":
                stream.seek(0)
                stream.truncate(stream.read().rfind(b"\n") + 1)
        stream.write(line + b"\n")
        stream.flush()
        os.fsync(stream.fileno())
