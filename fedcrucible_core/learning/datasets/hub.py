"""Any labelled data set of pictures or texts of the Hugging Face hub, through flwr-datasets."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.citation import Paper
from fedcrucible_core.config.extras import install_hint
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.datasets import names
from fedcrucible_core.learning.datasets.base import (
    DATASETS,
    READ_AS_IT_IS,
    DatasetSource,
    PublishedData,
    Reading,
    absent,
    no_such_column,
)
from fedcrucible_core.learning.datasets.columns import holds_texts, image_column, is_scalar, label_column, text_column
from fedcrucible_core.learning.datasets.hub_pictures import read_pictures
from fedcrucible_core.learning.datasets.hub_splits import choose_splits, unused_note
from fedcrucible_core.learning.datasets.hub_texts import read_texts
from fedcrucible_core.learning.datasets.labels import class_numbers, number_labels
from fedcrucible_core.learning.datasets.texts import text_info
from fedcrucible_core.learning.partition.base import Labels
from fedcrucible_core.learning.tasks.tokenizer import SHIPPED

KNOWN_CONSTANTS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "ylecun/mnist": ((0.1307,), (0.3081,)),
    "zalando-datasets/fashion_mnist": ((0.2860,), (0.3530,)),
    "uoft-cs/cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "uoft-cs/cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "ufldl-stanford/svhn": ((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
}
"""Published mean and std per channel; other data sets are normalised with 0.5 and 0.5."""


@DATASETS.register("hf")
class HuggingFace(DatasetSource):
    """A data set of the Hugging Face hub, named ``hf:org/name``; needs the ``datasets`` extra.

    ``fedcrucible prepare hf:org/name`` downloads it with flwr-datasets and saves it as ``<data folder>/hf/org--name``;
    runs read that folder and never the network.  It needs a split ``train``, or only one split whatever its name; the
    test split is ``test``, else ``validation`` or ``valid``, whatever their case, else a part of train
    (``task.test_fraction``).  Pictures are an Image column, files' bytes or arrays of numbers; where there are none, a
    column of strings holds the texts.  Labels are a ClassLabel, text, whole numbers, or true and false.  Columns are
    found by type and usual name, or chosen by ``task.image_column``, ``task.text_column`` and ``task.label_column``.
    """

    paper: ClassVar[Paper] = "no publication: flwr-datasets"
    by_hand = "run this command on a machine with a network and copy its folder {root}/hf here"
    has_columns = True
    after_colon: ClassVar[str] = "repo"
    tokenizer: ClassVar[str] = SHIPPED
    """What makes texts token ids unless ``task.tokenizer`` says."""
    repo: str = Field("", description="Data set on the hub, org/name")

    @property
    def full_name(self) -> str:
        """The name in ``task.dataset``."""
        return f"hf:{self.repo}" if self.repo else "hf"

    def folder(self, root: Path) -> Path:
        """Where the saved copy lies."""
        return root / "hf" / self.repo.replace("/", "--")

    def read(self, root: Path, reading: Reading = READ_AS_IT_IS) -> PublishedData:
        """Read the saved copy.

        Raises ConfigError when it is absent or damaged, when columns can't be told apart, for a picture that can't be
        read, pictures of several sizes, or a tokenizer that can't be had.
        """
        saved = self._saved(root)
        chosen = choose_splits(list(saved), self.full_name)
        rows: dict[str, Any] = {
            split: saved[chosen[split]] for split in ("train", "validation", "test") if split in chosen
        }
        notes = unused_note(list(saved), chosen)
        features = rows["train"].features
        if holds_texts(features, reading):
            return self._texts(rows, reading, notes)
        column = image_column(features, reading, self.full_name)
        names, labels = self._labels(rows, label_column(features, reading, self.full_name))
        self._check_column(rows, column)
        images = read_pictures(rows, column, reading.image_size, self.full_name)
        splits = {split: Labeled(images[split], torch.from_numpy(labels[split])) for split in rows}
        channels, height, width = images["train"].shape[1:]
        mean, std = KNOWN_CONSTANTS.get(self.repo, ((), ()))
        if len(mean) != channels:
            mean, std = (0.5,) * channels, (0.5,) * channels
        return PublishedData(
            DataInfo(self.full_name, names, (channels, height, width), mean, std),
            train=splits["train"],
            validation=splits.get("validation"),
            test=splits.get("test"),
            notes=notes,
        )

    def _texts(self, rows: Mapping[str, Any], reading: Reading, notes: tuple[str, ...]) -> PublishedData:
        features = rows["train"].features
        column = text_column(features, reading, self.full_name)
        others = {name: feature for name, feature in features.items() if name != column}
        names, labels = self._labels(rows, label_column(others, reading, self.full_name))
        self._check_column(rows, column)
        return read_texts(
            rows, column, labels, text_info(self.full_name, names, reading, tokenizer=self.tokenizer), notes
        )

    def _check_column(self, rows: Mapping[str, Any], column: str) -> None:
        without = [split for split, found in rows.items() if column not in found.features]
        if without:
            raise self._unusable(f"has no column {column} in the split {without[0]}")

    def ids(self, root: Path, column: str) -> Sequence[object]:
        """One entry of a scalar column for each row of the training split. Raises ConfigError for no such column."""
        saved = self._saved(root)
        train = saved[choose_splits(list(saved), self.full_name)["train"]]
        usable = [name for name, feature in train.features.items() if is_scalar(feature)]
        if column not in usable:
            raise no_such_column(self.full_name, column, usable)
        found: Sequence[object] = train.select_columns([column])[column][:]
        return found

    def prepare(self, root: Path) -> None:
        """Download with flwr-datasets and save; does nothing when a saved copy is there."""
        self._check_repo()
        folder = self.folder(root)
        if folder.is_dir():
            return
        datasets = _datasets_module(self.full_name)
        from flwr_datasets import FederatedDataset

        splits: dict[str, Any] = {}

        def keep_all(found: Any) -> Any:
            splits.update(found)
            return found

        federated = FederatedDataset(dataset=self.repo, partitioners={}, shuffle=False, preprocessor=keep_all)
        try:
            federated.load_split("train")
        except ValueError:  # the data set may have no such split; all were seen by then
            if not splits:
                raise
        if not splits:
            raise self._unusable("has no split")
        partial = folder.with_name(folder.name + ".partial")
        datasets.DatasetDict(splits).save_to_disk(str(partial))
        partial.rename(folder)

    def _check_repo(self) -> None:
        if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", self.repo):
            raise ConfigError("task.dataset", self.full_name, "name the data set, e.g. hf:uoft-cs/cifar10")

    def _unusable(self, why: str) -> ConfigError:
        return ConfigError("task.dataset", self.full_name, why)

    def _saved(self, root: Path) -> Mapping[str, Any]:
        """The saved splits by name."""
        self._check_repo()
        folder = self.folder(root)
        if not folder.is_dir():
            raise absent(self.full_name, folder)
        try:
            saved = _datasets_module(self.full_name).load_from_disk(str(folder))
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise absent(self.full_name, folder) from error
        return saved if isinstance(saved, dict) else {"train": saved}

    def _labels(self, rows: Mapping[str, Any], column: str) -> tuple[tuple[str, ...], dict[str, Labels]]:
        """Class names in order, and each split's class numbers; a split without the column has no labels."""
        values = {
            split: found[column][:] if column in found.features else [None] * len(found)
            for split, found in rows.items()
        }
        features = {split: found.features.get(column) for split, found in rows.items()}
        if type(features["train"]).__name__ == "ClassLabel":
            names = tuple(features["train"].names)
            labels = {split: class_numbers(entries, features[split], names) for split, entries in values.items()}
        else:
            names, labels = number_labels(values, "task.label_column", column)
        worded = tuple(str(name).replace("_", " ") for name in names)
        return _known_names(self.repo, len(names)) or (worded if len(set(worded)) == len(names) else names), labels


def _known_names(repo: str, count: int) -> tuple[str, ...] | None:
    known: dict[str, tuple[str, ...]] = {
        "ylecun/mnist": names.DIGITS,
        "zalando-datasets/fashion_mnist": names.FASHION,
        "ufldl-stanford/svhn": names.HOUSE_NUMBERS,
    }
    names_of = known.get(repo)
    return names_of if names_of is not None and len(names_of) == count else None


def _datasets_module(name: str) -> Any:
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise ConfigError("task.dataset", name, install_hint("datasets")) from error
    return datasets
