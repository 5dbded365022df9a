"""``fedcrucible``, and ``python -m fedcrucible``: the command, once it is sure whose modules it will import."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MISUSED = 2


def main() -> None:
    """Run the command; a module of somebody else's under one of our names is one line and exit code 2."""
    problem = _intruder()
    if problem:
        print(f"error: {problem}", file=sys.stderr)
        sys.exit(MISUSED)
    from runner.cli import app

    app(prog_name="fedcrucible")


def _intruder() -> str:
    spec = importlib.util.spec_from_file_location("_fedcrucible_rooms", ROOT / "config" / "rooms.py")
    if spec is None or spec.loader is None:  # never: the file ships beside this one
        return ""
    rooms = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rooms)
    found: str = rooms.intruder(ROOT)
    return found


if __name__ == "__main__":
    main()
