"""Writes the golden digests anew: ``python -m tests.golden``, from the top of the checkout, about a minute.

``python -m tests.golden new`` plays and adds only the cells that have none yet, on the machine of the others.
``python -m tests.golden on cuda`` writes nothing: it plays all cells on that device, four at a time, and prints which
figures are further off than another processor's may be.

All of them only after a change that is meant to change numbers: the difference of ``digests.json``
shows which runs it changed.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from pathlib import Path

from fedcrucible_core.config.atomic_file import write_atomic
from tests.golden.another_device import on_device
from tests.golden.cells import CELLS
from tests.golden.digest import DIGESTS, Golden, play, recorded, this_machine


def main() -> None:
    """Do what the first argument says; without one, write all digests."""
    logging.disable(logging.WARNING)
    if sys.argv[1:2] == ["on"]:
        on_device(sys.argv[2])
    else:
        write()


def write() -> None:
    """Run the cells and replace ``digests.json``."""
    kept = recorded() if sys.argv[1:] == ["new"] else Golden(machine=this_machine(), runs={})
    if kept.machine != this_machine():
        raise SystemExit("the digests are of another machine: write all of them")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = str(Path(folder) / "cache")
        runs = {}
        for name in CELLS:
            if name in kept.runs:
                runs[name] = kept.runs[name]
                continue
            runs[name] = play(name, Path(folder) / "runs")
            print(f"{name}: {runs[name].parameters_sha256[:12]}", flush=True)
    write_atomic(DIGESTS, Golden(machine=this_machine(), runs=runs).text().encode())
    print(f"{len(runs)} digests written to {DIGESTS.name}")


if __name__ == "__main__":
    main()
