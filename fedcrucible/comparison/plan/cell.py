"""One run of a matrix."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.config.load import load
from fedcrucible_core.config.values import Scalar, value_text

SEED = "seed"
"""The label that tells repetitions apart."""
IN_PROCESS, FLWR = ENGINES = ("in-process", "flwr")
"""What can carry a run: a worker process with the in-process engine, or ``flwr run``."""


@dataclass(frozen=True, eq=False)
class Cell:
    """Labels that become columns of tables, one of them ``seed``, and the run's settings."""

    labels: Mapping[str, Scalar]
    settings: Mapping[str, Scalar]
    engine: str = IN_PROCESS

    @cached_property
    def config(self) -> RunConfigBase:
        """The validated configuration. Raises ConfigError."""
        return load(self.settings)

    @cached_property
    def digest(self) -> str:
        """Hash of all that the run's numbers depend on: cells that share it are one run."""
        from server_app.identity import digest

        return digest(self.config)

    @cached_property
    def key(self) -> str:
        """What tells runs apart: the digest, and the engine where it isn't the usual one."""
        return self.digest if self.engine == IN_PROCESS else f"{self.digest}-{self.engine}"

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
