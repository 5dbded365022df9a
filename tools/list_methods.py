"""Writes docs/methods.md from the registries: every rule, purifier, repair, splitter, attack, partitioner, data set
and system with what its author says of it.

python tools/list_methods.py          # --check only says whether the file is up to date
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # this checkout's registries, whatever else is installed

from fedcrucible.catalogue import entries  # noqa: E402
from fedcrucible.catalogue_text import markdown  # noqa: E402

TARGET = ROOT / "docs" / "methods.md"
KINDS = ("defenses", "purifiers", "repairs", "splitters", "attacks", "partitioners", "datasets")
HEAD = """# Methods

Made by `python tools/list_methods.py` from the classes themselves; don't edit. `fedcrucible list NAME` shows one in
full, with its parameters. n: clients of a round, d: parameters of the model.
"""


def text() -> str:
    """The page as it should be."""
    found = [entry for kind in KINDS for entry in entries(kind)]
    systems = [entry for entry in entries("strategies") if entry.file == "strategies/systems.py"]
    return f"{HEAD}\n{markdown([*found, *systems], with_parameters=False)}\n"


def main() -> None:
    """Write the page, or say whether it is up to date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    if parser.parse_args().check:
        current = TARGET.is_file() and TARGET.read_text(encoding="utf-8") == text()
        sys.exit(0 if current else f"{TARGET} is not up to date: python tools/list_methods.py")
    TARGET.write_text(text(), encoding="utf-8")
    print(f"wrote {TARGET}")


if __name__ == "__main__":
    main()
