"""Writing a file so that readers, and a crash, see the old one or the new one, never half."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

PART = re.compile(r"\..+\.\d+\.part")
"""Names of half-written files."""


def write_atomic(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content`` in one step, on the disk when it returns; its folder is created when missing.

    Any number of threads, processes and machines may write the same file at once. Raises OSError that names ``path``,
    whatever went wrong; the old file is then still there.
    """
    part = path.parent / f".{path.name}.{secrets.randbits(48)}.part"
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("xb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            part.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Errors that name ``path``: a full disk raises OSError without a file name."""
    try:
        yield
    except OSError as error:
        if error.filename is not None and str(error.filename) == str(path):
            raise
        reason = error.strerror or str(error)
        raise OSError(error.errno, reason, str(path)) if error.errno else OSError(f"{reason}: {path}") from error
