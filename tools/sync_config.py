"""Write into pyproject.toml what the program knows better: every configuration key with its default, and the rooms.

Flower refuses a ``--run-config`` key that is not in ``[tool.flwr.app.config]``, so it must list all of them. The list
of rooms (``fedcrucible_core/rooms.py``) says what a wheel installs, mypy checks and Flower's app bundle holds. Tests
compare them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import tomlkit

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # this checkout's registries, whatever else is installed

from fedcrucible_core.config.load import default_keys, sections  # noqa: E402
from fedcrucible_core.rooms import APP, EXAMPLES, PACKAGES, UNSHIPPED  # noqa: E402

PYPROJECT = ROOT / "pyproject.toml"


def main() -> None:
    """Rewrite the table and the lists in place, or (``--check``) say whether they are up to date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 when something would change")
    before = PYPROJECT.read_text(encoding="utf-8")
    after = updated(before)
    if parser.parse_args().check:
        sys.exit(0 if after == before else f"{PYPROJECT.name} is not up to date: python tools/sync_config.py")
    PYPROJECT.write_text(after, encoding="utf-8")
    print(f"{len(default_keys())} keys written to {PYPROJECT.name}")


def updated(text: str) -> str:
    """A pyproject.toml with every key and room; everything else in it stays as it is."""
    document = tomlkit.parse(text)
    keys, table = default_keys(), tomlkit.table()
    for section in sections(keys):
        for key, value in keys.items():
            if key.split(".")[0] == section:
                table.append(tomlkit.key(key.split(".")), value)
    tool = document["tool"]
    tool["flwr"]["app"]["config"] = table
    tool["flwr"]["app"]["fab-include"] = _lines(["LICENSE", *(f"{room}/**/*.py" for room in APP)])
    tool["hatch"]["build"]["targets"]["wheel"]["packages"] = _lines(PACKAGES)
    tool["mypy"]["mypy_path"] = _lines([f"examples/{app}" for app in EXAMPLES])
    tool["mypy"]["packages"] = _lines([*PACKAGES, *UNSHIPPED, *(app.replace("-", "_") for app in EXAMPLES)])
    return tomlkit.dumps(document)


def _lines(values: Sequence[str]) -> tomlkit.items.Array:
    return tomlkit.item(list(values)).multiline(True)


if __name__ == "__main__":
    main()
