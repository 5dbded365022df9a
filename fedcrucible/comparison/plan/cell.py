"""One run of a matrix."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.config.load import load
from fedcrucible_core.config.values import Scalar

SEED = "seed"
"""The label that tells repetitions apart."""


@dataclass(frozen=True, eq=False)
class Cell:
    """Labels that become columns of tables, one of them ``seed``, and the run's settings."""

    labels: Mapping[str, Scalar]
    settings: Mapping[str, Scalar]

    @cached_property
    def config(self) -> RunConfigBase:
        """The validated configuration. Raises ConfigError."""
        return load(self.settings)

    @cached_property
    def digest(self) -> str:
        """Hash of all that the run's numbers depend on: cells that share it are one run."""
        from server_app.identity import digest

        return digest(self.config)

    @property
    def title(self) -> str:
        """All labels in one line."""
        return ", ".join(label_text(name, value) for name, value in self.labels.items())

    @cached_property
    def name(self) -> str:
        """Folder name of the record."""
        config = self.config
        words = f"{config.strategy}-{config.attack.name}-seed{config.run.seed}-{self.digest}"
        return re.sub(r"[^\w.+-]+", "_", words)


def label_text(axis: str, value: Scalar) -> str:
    """A label as it stands in a sentence: names alone, numbers with what they count."""
    return value if isinstance(value, str) else f"{axis} {value_text(value)}"


def value_text(value: Scalar) -> str:
    """A label's value as text: true, false, and whole numbers without a point, whatever type they came in."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)
