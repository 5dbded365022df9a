"""``fedcrucible``, and ``python -m fedcrucible``: the command, once it is sure whose modules it will import."""

from __future__ import annotations

import sys

from fedcrucible_core.rooms import intruder

MISUSED = 2


def main() -> None:
    """Run the command; a module of somebody else's under one of our names is one line and exit code 2."""
    problem = intruder()
    if problem:
        print(f"error: {problem}", file=sys.stderr)
        sys.exit(MISUSED)
    from fedcrucible.cli import app

    app(prog_name="fedcrucible")


if __name__ == "__main__":
    main()
