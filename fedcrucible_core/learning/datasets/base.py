"""The contract of a data set: read its published splits from disk, or download them when asked to."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar

from fedcrucible_core.config import Component, ConfigError, Registry
from fedcrucible_core.config.sections import TaskSection
from fedcrucible_core.learning.data import DataInfo, Labeled


@dataclass(frozen=True)
class Reading:
    """How a data set is to be read, for sources that leave a choice."""

    image_size: int = 0
    """Side of the square that every picture is stretched to, before pictures of several sizes meet; 0 = as they are."""
    image_column: str = ""
    """Column of the pictures; empty = found by its type and name."""
    label_column: str = ""
    """Column of the labels; empty = found by its type and name."""
    text_column: str = ""
    """Column of the texts; empty = found by its type and name."""
    max_length: int = 0
    """Tokens L of a text; 0 = the source's own."""
    reserved_tokens: int = 16
    """Tokens of L that every text leaves free."""
    tokenizer: str = ""
    """What makes texts token ids; empty = the source's own."""

    @classmethod
    def of(cls, task: TaskSection) -> Reading:
        """What ``task`` asks for."""
        return cls(**{field.name: getattr(task, field.name) for field in fields(cls)})


@dataclass(frozen=True)
class PublishedData:
    """The splits as their authors publish them; ``test`` and ``validation`` are None where they publish none.

    A label of -1 says that the image has none; what follows from that is decided in one place for all sources.
    """

    info: DataInfo
    train: Labeled
    test: Labeled | None
    validation: Labeled | None = None
    train_is_stratified: bool = False
    """True when each prefix of ``train`` is as class-balanced as it can be, so that subsets are prefixes."""
    notes: tuple[str, ...] = ()
    """What a reader of the numbers has to know, e.g. what was left out."""
    left_out: tuple[tuple[str, str], ...] = ()
    """File (or what else says which it is) and reason, of every one that could not be used."""


READ_AS_IT_IS = Reading()


class UndecidedError(ConfigError):
    """Data that is here, but leaves a choice; the message names the key that makes it."""


class DatasetSource(Component):
    """Where one data set comes from."""

    ships: ClassVar[bool] = False
    """True when nothing has to be downloaded."""
    default_imbalance: ClassVar[float] = 1.0
    """Long-tail factor that applies where ``task.imbalance_factor`` is left at 1."""
    by_hand: ClassVar[str] = ""
    """What to do without a download: which files, from where, put where (``{root}`` is the data folder)."""
    after_colon: ClassVar[str] = ""
    """Field that takes what follows a colon in ``task.dataset``; empty = nothing may follow."""
    has_columns: ClassVar[bool] = False
    """True where ``task.image_column`` and ``task.label_column`` choose something."""

    @abstractmethod
    def read(self, root: Path, reading: Reading = READ_AS_IT_IS) -> PublishedData:
        """Read from the data folder ``root`` without network.

        Sources of one fixed size leave ``reading.image_size`` to their caller.

        Raises:
            ConfigError: the data is not there; the message says which command fetches it.
        """

    def ids(self, root: Path, column: str) -> Sequence[object]:  # noqa: ARG002
        """What the scalar column ``column`` says of each row of the published training split, in its order.

        Where :meth:`read` says which rows its training images are, of each row that it counts.

        Raises:
            ConfigError: no such column; the message lists those that exist.
        """
        raise no_such_column(self.name, column, ())

    def names(self, root: Path, reading: Reading = READ_AS_IT_IS) -> Sequence[str]:  # noqa: ARG002
        """The file of each row that :meth:`read` counts (``Labeled.rows``), in their order; none without files."""
        return ()

    def public_slice(self, info: DataInfo) -> Labeled | None:  # noqa: ARG002
        """Labelled data of the same kind that are in none of the splits, in the form of ``info``; None = none ship."""
        return None

    @abstractmethod
    def prepare(self, root: Path) -> None:
        """Download into ``root`` what :meth:`read` needs; does nothing when it is there already."""


DATASETS: Registry[DatasetSource] = Registry("dataset", "fedcrucible_core.learning.datasets", key="task.dataset")


def absent(name: str, root: Path) -> ConfigError:
    """The error for data that is not on disk."""
    return ConfigError(
        "task.dataset",
        name,
        f"absent or damaged in {root}; run `fedcrucible prepare {name}`, "
        "or set task.data_dir or FEDCRUCIBLE_DATA to a folder that holds it",
    )


def no_such_column(dataset: str, column: str, columns: Sequence[str]) -> ConfigError:
    """The error for an id column that a data set doesn't have."""
    has = f"has the columns {', '.join(columns)}" if columns else "has no column besides images and labels"
    why = "no such column" if column else "name the column of ids"
    return ConfigError("partition.by-column.column", column, f"{why}; {dataset} {has}")
