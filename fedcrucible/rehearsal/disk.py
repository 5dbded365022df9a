"""Where a rehearsal's records lie while it goes, so that this disk, and no other, can be full."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

SIZE_MB = 64
_BALLAST = "ballast"
_CHUNK = 1 << 16


class Disk:
    """A small file system in memory where this process may mount one, else a folder like any other.

    On a folder a full disk is imitated: the server process may write no file beyond a few bytes
    (``RLIMIT_FSIZE``), which fails with another error number, EFBIG, in the same places.
    """

    def __init__(self, folder: Path, mounted: bool) -> None:
        self.folder = folder
        self.mounted = mounted

    @property
    def kind(self) -> str:
        """How a full disk is brought about, in words."""
        return f"a file system of {SIZE_MB} MB without room" if self.mounted else "a limit of the process's file size"

    def fill(self, writers: Iterable[int]) -> None:
        """Leave no room for the processes that write. Raises OSError where neither way works on this system."""
        if not self.mounted:
            import resource

            for pid in writers:
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
            return
        with (self.folder / _BALLAST).open("wb", buffering=0) as stream:
            size = _CHUNK
            while size:
                try:
                    stream.write(bytes(size))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    size //= 2

    def free(self) -> None:
        """Make room again; a process under a limit is gone by then."""
        (self.folder / _BALLAST).unlink(missing_ok=True)


@contextlib.contextmanager
def record_disk(folder: Path, *, small: bool) -> Iterator[Disk]:
    """The disk at ``folder``, which is made; with ``small`` a file system of its own where it can be had."""
    folder.mkdir(parents=True, exist_ok=True)
    mounted = small and _mount(folder)
    try:
        yield Disk(folder, mounted)
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=False, capture_output=True)


def _mount(folder: Path) -> bool:
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return False
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m,mode=700", "fedcrucible-rehearsal", str(folder)]
    try:
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    except OSError:  # no such command
        return False
