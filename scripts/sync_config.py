"""Write every configuration key with its default into ``[tool.flwr.app.config]`` of pyproject.toml.

Flower refuses a ``--run-config`` key that is not in that table, so it must list all of them; a test compares the two.
"""

from __future__ import annotations

from pathlib import Path

import tomlkit

from config.load import default_keys, sections

PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def main() -> None:
    """Rewrite the table in place; everything else in the file stays as it is."""
    document = tomlkit.parse(PYPROJECT.read_text(encoding="utf-8"))
    keys, table = default_keys(), tomlkit.table()
    for section in sections(keys):
        for key, value in keys.items():
            if key.split(".")[0] == section:
                table.append(tomlkit.key(key.split(".")), value)
    document["tool"]["flwr"]["app"]["config"] = table  # type: ignore[index]
    PYPROJECT.write_text(tomlkit.dumps(document), encoding="utf-8")
    print(f"{len(keys)} keys written to {PYPROJECT.name}")


if __name__ == "__main__":
    main()
