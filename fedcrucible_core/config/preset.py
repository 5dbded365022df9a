"""Presets: settings that ship by name, or of a TOML file of the user's, each on top of what it builds on."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from fedcrucible_core.config.errors import ConfigError, did_you_mean
from fedcrucible_core.config.load import overlaid
from fedcrucible_core.config.text_files import read_text
from fedcrucible_core.config.values import Scalar

PRESETS = Path(__file__).parent / "presets"
NOT_SETTINGS = ("preset", "compare")
"""Top-level entries of a preset file that are no settings: what it builds on, and the matrix of `compare`."""


def flatten_table(table: Mapping[str, Any], prefix: str = "") -> dict[str, Scalar]:
    """Nested TOML tables as dotted keys. Raises ConfigError for lists and other values."""
    flat: dict[str, Scalar] = {}
    for name, value in table.items():
        if isinstance(value, Mapping):
            flat |= flatten_table(value, f"{prefix}{name}.")
        elif isinstance(value, (str, int, float, bool)):
            flat[prefix + name] = value
        else:
            raise ConfigError(prefix + name, value, "a text, number or true/false")
    return flat


def preset_names() -> list[str]:
    """Names of the presets that ship."""
    return sorted(path.relative_to(PRESETS).with_suffix("").as_posix() for path in PRESETS.rglob("*.toml"))


def load_preset(name: str) -> dict[str, Scalar]:
    """The settings of a preset by name, or of a TOML file by path; none for no name. Raises ConfigError."""
    tables = [{key: value for key, value in layer.items() if key not in NOT_SETTINGS} for layer in preset_layers(name)]
    return overlaid(*map(flatten_table, tables))


def preset_layers(name: str) -> list[dict[str, Any]]:
    """The TOML tables that make a preset: the one it builds on (``preset = "NAME"`` at its top) first, itself last.

    A path that a file names is relative to that file.  Raises ConfigError.
    """
    layers: list[dict[str, Any]] = []
    seen: set[Path] = set()
    while name:
        path = _preset_path(name, seen)
        seen.add(path)
        try:
            table = tomllib.loads(read_text(path))
        except (OSError, ValueError, RecursionError) as error:
            raise ConfigError("preset", name, f"can't be read as TOML: {error}") from None
        layers.insert(0, table)
        base = table.get("preset", "")
        if not isinstance(base, str):
            raise ConfigError("preset", base, f"in {path}: the name of a preset, or a .toml file")
        name = str(path.parent / base) if base.endswith(".toml") else base
    return layers


def _preset_path(name: str, seen: Collection[Path]) -> Path:
    path = (Path(name) if name.endswith(".toml") else PRESETS / f"{name}.toml").resolve()
    if not path.is_file():
        choices = preset_names()
        raise ConfigError(
            "preset", name, f"{did_you_mean(name, choices)}allowed: {', '.join(choices)}, or a .toml file"
        )
    if path in seen:
        raise ConfigError("preset", name, "builds on itself")
    return path
