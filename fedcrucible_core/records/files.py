"""Names of a record's files, and writing them so that a crash leaves the old or the new one, never half."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
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
FILES = (RUN, CONFIG, CONFIG_TOML, ENVIRONMENT, METRICS, SUMMARY, MODEL, EXAMPLES, REPORT)
FOLDERS = (EMBEDDINGS, CHECKPOINTS)
_PART = re.compile(r"\..+\.\d+\.part")


def write_atomic(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content`` in one step; its folder is created when missing.

    Raises OSError that names ``path``, whatever went wrong; the old file is then still there.
    """
    part = path.parent / f".{path.name}.{os.getpid()}.part"
    with _naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
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
    """Append one line and bring it to the disk; a last line that a crash cut short is cut off first.

    Raises OSError that names ``path``.
    """
    with _naming(path), path.open("a+b") as stream:
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
    with _naming(folder):
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
            if _PART.fullmatch(part.name) and part.is_file():
                part.unlink(missing_ok=True)


def in_the_way(folder: Path) -> Path | None:
    """What stands where a record's file or folder is to be written and can't be replaced; None where nothing does."""
    kept = [folder / name for name in FOLDERS]
    written = [folder / name for name in FILES] + [p for place in kept for p in sorted(place.glob("*.safetensors"))]
    blocking = [p for p in kept if os.path.lexists(p) and not p.is_dir()]
    blocking += [p for p in written if p.is_dir() and not p.is_symlink()]
    return blocking[0] if blocking else None


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """A full disk raises OSError without a file name: say which file it was."""
    try:
        yield
    except OSError as error:
        if error.filename is not None and str(error.filename) == str(path):
            raise
        reason = error.strerror or str(error)
        raise OSError(error.errno, reason, str(path)) if error.errno else OSError(f"{reason}: {path}") from error
