"""Which files below a folder are pictures, whatever else lies there."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from fedcrucible_core.learning.datasets.skipped import Skipped

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"}
)
LEFT_BY_SYSTEMS = frozenset({"__macosx", "thumbs.db", "desktop.ini", "$recycle.bin", "lost+found", "@eadir", "icon\r"})


def is_hidden(name: str) -> bool:
    """Whether a file or folder is somebody's bookkeeping (``.DS_Store``, ``__MACOSX``), never data."""
    return name.startswith(".") or name.lower() in LEFT_BY_SYSTEMS


def sub_folders(folder: Path) -> list[Path]:
    """Visible folders directly in ``folder``, by name."""
    return sorted(path for path in folder.iterdir() if not is_hidden(path.name) and path.is_dir())


def picture_files(folder: Path, skipped: Skipped | None = None) -> Iterator[Path]:
    """Picture files (by name) in ``folder`` and the folders in it, ordered by path; hidden ones are left out.

    Symbolic links are followed, but never round in a circle.  What is passed over is added to ``skipped``.
    """
    report = Skipped() if skipped is None else skipped
    yield from _below(folder, (), report)


def _below(folder: Path, above: tuple[Path, ...], skipped: Skipped) -> Iterator[Path]:
    here = folder.resolve()
    if here in above:
        skipped.add("a symbolic link to a folder above it", folder)
        return
    try:
        children = sorted(path for path in folder.iterdir() if not is_hidden(path.name))
    except OSError:
        skipped.add("a folder that may not be read", folder)
        return
    for child in children:
        try:
            mode = child.stat().st_mode
        except OSError:
            skipped.add("a broken symbolic link" if child.is_symlink() else "not to be opened", child)
            continue
        if stat.S_ISDIR(mode):
            yield from _below(child, (*above, here), skipped)
        elif child.suffix.lower() not in SUFFIXES:
            skipped.add(f"no picture by its name ({child.suffix.lower() or 'no suffix'})", child)
        elif not stat.S_ISREG(mode):
            skipped.add("no ordinary file", child)
        elif not os.access(child, os.R_OK):
            skipped.add("may not be read (permissions)", child)
        else:
            yield child
