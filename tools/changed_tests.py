"""Print the unit tests of what changed since the branch left main, one file a line, for ``make check``.

Of ``attacks/uploads/alie.py`` these are the files below ``tests/attacks`` that are named after it or import it; where
there is none, those that import its package, or else those of the nearest folder that mirrors it. A changed test file
stands for itself, and the architecture is always checked. On main, or where there is no main, what is not yet committed
counts.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Print the files."""
    print("\n".join(sorted(path.as_posix() for path in guards_of(changed_files(ROOT), ROOT))))


def changed_files(root: Path) -> list[PurePosixPath]:
    """Python files that differ from where this branch left main, committed or not, new ones included."""
    base = _git(root, "merge-base", "HEAD", "main") or ["HEAD"]
    names = _git(root, "diff", "--name-only", base[0]) + _git(root, "ls-files", "--others", "--exclude-standard")
    return [PurePosixPath(name) for name in names if name.endswith(".py")]


def guards_of(changed: Iterable[PurePosixPath], root: Path) -> set[PurePosixPath]:
    """The test files, relative to ``root``, that look after ``changed``."""
    found = {PurePosixPath("tests/test_architecture.py")}
    for path in changed:
        if path.name.startswith("test_"):
            found |= {path} if (root / path).is_file() else set()
        elif path.parts[0] != "tests":
            found |= _mirrored(path, root)
    return found


def _mirrored(path: PurePosixPath, root: Path) -> set[PurePosixPath]:
    files = sorted((root / "tests" / path.parts[0]).rglob("test_*.py"))
    module = path.with_suffix("")
    near = [file for file in files if module.name in file.stem or _imports(file, module)]
    near = near or [file for file in files if _imports(file, module.parent)] or _nearest(root / "tests" / path.parent)
    return {PurePosixPath(file.relative_to(root).as_posix()) for file in near}


def _imports(file: Path, module: PurePosixPath) -> bool:
    """Whether a file imports a module, by its whole name or from its package."""
    package, name = ".".join(module.parent.parts), re.escape(module.name)
    whole = re.escape(".".join(module.parts))
    pattern = rf"^\s*(from {whole} import|import {whole}\b|from {re.escape(package)} import .*\b{name}\b)"
    return bool(re.search(pattern, file.read_text(encoding="utf-8"), re.MULTILINE))


def _nearest(folder: Path) -> list[Path]:
    while folder.name != "tests" and not list(folder.glob("test_*.py")):
        folder = folder.parent
    return [] if folder.name == "tests" else sorted(folder.glob("test_*.py"))


def _git(root: Path, *arguments: str) -> list[str]:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.splitlines()


if __name__ == "__main__":
    main()
