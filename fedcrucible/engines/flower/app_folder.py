"""A lean copy of the Flower app: ``flwr run`` walks every file below its folder, virtual environments included."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

from fedcrucible.engines.flower.environment import PROJECT


def stage_app(target: Path) -> Path:
    """Copy what belongs to the app (``fab-include`` of pyproject.toml) into ``target`` and return it."""
    source = PROJECT / "pyproject.toml"
    if not source.is_file():
        raise FileNotFoundError(
            f"{source} is missing: Flower's engines need a checkout of the project, installed with `pip install -e .`"
        )
    included = tomllib.loads(source.read_text(encoding="utf-8"))["tool"]["flwr"]["app"]["fab-include"]
    for path in [source, *(path for pattern in included for path in PROJECT.glob(pattern))]:
        copy = target / path.relative_to(PROJECT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    return target
