"""The contract of a data set: read its published splits from disk, or download them when asked to."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from config import Component, ConfigError, Registry
from learning.data import DataInfo, LabeledImages


@dataclass(frozen=True)
class PublishedData:
    """The splits as their authors publish them; ``validation`` is None where they publish none."""

    info: DataInfo
    train: LabeledImages
    test: LabeledImages
    validation: LabeledImages | None = None
    train_is_stratified: bool = False
    """True when each prefix of ``train`` is as class-balanced as it can be, so that subsets are prefixes."""


class DatasetSource(Component):
    """Where one data set comes from."""

    ships: ClassVar[bool] = False
    """True when nothing has to be downloaded."""
    default_imbalance: ClassVar[float] = 1.0
    """Long-tail factor that applies where ``task.imbalance_factor`` is left at 1."""
    by_hand: ClassVar[str] = ""
    """What to do without a download: which files, from where, put where (``{root}`` is the data folder)."""

    @abstractmethod
    def read(self, root: Path) -> PublishedData:
        """Read from the data folder ``root`` without network.

        Raises:
            ConfigError: the data is not there; the message says which command fetches it.
        """

    @abstractmethod
    def prepare(self, root: Path) -> None:
        """Download into ``root`` what :meth:`read` needs; does nothing when it is there already."""


DATASETS: Registry[DatasetSource] = Registry("dataset", "learning.datasets", key="task.dataset")


def absent(name: str, root: Path) -> ConfigError:
    """The error for data that is not on disk."""
    return ConfigError(
        "task.dataset",
        name,
        f"absent or damaged in {root}; run `fedcrucible prepare {name}`, "
        "or set task.data_dir or FEDCRUCIBLE_DATA to a folder that holds it",
    )
