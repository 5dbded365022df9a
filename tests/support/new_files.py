"""Components in files of a temporary folder, found as if the files lay in the project's own folders."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fedcrucible_core.config.compose import run_config_type
from fedcrucible_core.config.registry import Registry


class NewFiles:
    """Adds files beside those of registered folders."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch = folder, monkeypatch
        self.added: list[str] = []

    def add(self, registry: Registry[Any], name: str, text: str) -> None:
        """Write ``name``.py into a folder that the registry looks through; nothing else is told of it."""
        package = registry.folders[0]
        here = self.folder / package
        here.mkdir(exist_ok=True)
        (here / f"{name}.py").write_text(text, encoding="utf-8")
        room = importlib.import_module(package)
        self.monkeypatch.setattr(room, "__path__", [*room.__path__, str(here)])
        # as in a process that starts now
        self.monkeypatch.setattr(registry, "_classes", dict(registry.classes()))
        self.monkeypatch.setattr(registry, "_loaded", False)
        importlib.invalidate_caches()
        run_config_type.cache_clear()
        self.added.append(f"{package}.{name}")


@pytest.fixture
def new_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NewFiles]:
    """Files that are there for one test."""
    files = NewFiles(tmp_path, monkeypatch)
    yield files
    run_config_type.cache_clear()
    for module in files.added:
        sys.modules.pop(module, None)
