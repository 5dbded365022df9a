"""Write into pyproject.toml what the program knows better: every configuration key with its default, and the rooms.

Flower refuses a ``--run-config`` key that is not in ``[tool.flwr.app.config]``, so it must list all of them. The list
of rooms (``fedcrucible_core/rooms.py``) says what a wheel installs, mypy checks and Flower's app bundle holds. Tests
compare them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import tomlkit

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # this checkout's registries, whatever else is installed

from fedcrucible_core.config.load import default_keys, sections  # noqa: E402
from fedcrucible_core.rooms import APP, PACKAGES, UNSHIPPED  # noqa: E402

PYPROJECT = ROOT / "pyproject.toml"


def main() -> None:
    """Rewrite the table and the lists in place; everything else in the file stays as it is."""
    document = tomlkit.parse(PYPROJECT.read_text(encoding="utf-8"))
    keys, table = default_keys(), tomlkit.table()
    for section in sections(keys):
        for key, value in keys.items():
            if key.split(".")[0] == section:
                table.append(tomlkit.key(key.split(".")), value)
    tool = document["tool"]
    tool["flwr"]["app"]["config"] = table  # type: ignore[index]
    tool["flwr"]["app"]["fab-include"] = _lines(["LICENSE", *(f"{room}/**/*.py" for room in APP)])  # type: ignore[index]
    tool["hatch"]["build"]["targets"]["wheel"]["packages"] = _lines(PACKAGES)  # type: ignore[index]
    tool["mypy"]["packages"] = _lines([*PACKAGES, *UNSHIPPED])  # type: ignore[index]
    PYPROJECT.write_text(tomlkit.dumps(document), encoding="utf-8")
    print(f"{len(keys)} keys written to {PYPROJECT.name}")


def _lines(values: Sequence[str]) -> tomlkit.items.Array:
    return tomlkit.item(list(values)).multiline(True)  # type: ignore[attr-defined,no-any-return]


if __name__ == "__main__":
    main()
