"""Any labelled image data set of the Hugging Face hub, through flwr-datasets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field

from config import ConfigError
from learning.data import DataInfo, LabeledImages
from learning.datasets import names
from learning.datasets.base import DATASETS, DatasetSource, PublishedData, absent

KNOWN_CONSTANTS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "ylecun/mnist": ((0.1307,), (0.3081,)),
    "zalando-datasets/fashion_mnist": ((0.2860,), (0.3530,)),
    "uoft-cs/cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "uoft-cs/cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "ufldl-stanford/svhn": ((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
}
"""Published mean and std per channel; other data sets are normalised with 0.5 and 0.5."""
PREFERRED_LABELS = ("label", "labels", "fine_label")


@DATASETS.register("hf")
class HuggingFace(DatasetSource):
    """A data set of the Hugging Face hub, named ``hf:org/name``; needs the ``datasets`` extra.

    ``fedcrucible prepare hf:org/name`` downloads it with flwr-datasets and saves it as ``<data folder>/hf/org--name``;
    runs read that folder and never the network.  It needs splits ``train`` and ``test`` (or ``validation``, then used
    as test), one image column of equally sized images and one class-label column.
    """

    paper = "flwr-datasets"
    by_hand = "run this command on a machine with a network and copy its folder {root}/hf here"
    repo: str = Field("", description="Data set on the hub, org/name")

    @property
    def full_name(self) -> str:
        """The name in ``task.dataset``."""
        return f"hf:{self.repo}" if self.repo else "hf"

    def folder(self, root: Path) -> Path:
        """Where the saved copy lies."""
        return root / "hf" / self.repo.replace("/", "--")

    def read(self, root: Path) -> PublishedData:
        """Read the saved copy. Raises ConfigError when it is absent or not a set of equally sized labelled images."""
        self._check_repo()
        folder = self.folder(root)
        if not folder.is_dir():
            raise absent(self.full_name, folder)
        saved = _datasets_module(self.full_name).load_from_disk(str(folder))
        test = next((split for split in ("test", "validation", "valid") if split in saved), "test")
        if "train" not in saved or test not in saved:
            raise self._unusable(f"needs the splits train and test, has {', '.join(saved)}")
        image_column, label_column = self._columns(saved["train"].features)
        class_names = tuple(str(n).replace("_", " ") for n in saved["train"].features[label_column].names)
        splits = {
            split: self._images(saved[split], image_column, label_column)
            for split in ("train", "validation", test)
            if split in saved
        }
        shapes = {split: tuple(images.images.shape[1:]) for split, images in splits.items()}
        if len(set(shapes.values())) > 1:
            raise self._unusable(f"needs images of one size, has {shapes}")
        channels, height, width = shapes["train"]
        mean, std = KNOWN_CONSTANTS.get(self.repo, ((0.5,) * channels, (0.5,) * channels))
        return PublishedData(
            DataInfo(self.full_name, _known_names(self.repo) or class_names, (channels, height, width), mean, std),
            train=splits["train"],
            validation=splits.get("validation") if test == "test" else None,
            test=splits[test],
        )

    def prepare(self, root: Path) -> None:
        """Download with flwr-datasets and save; does nothing when a saved copy is there."""
        self._check_repo()
        folder = self.folder(root)
        if folder.is_dir():
            return
        datasets = _datasets_module(self.full_name)
        from flwr_datasets import FederatedDataset

        federated = FederatedDataset(dataset=self.repo, partitioners={}, shuffle=False)
        splits = {}
        for split in ("train", "test", "validation", "valid"):
            try:
                splits[split] = federated.load_split(split)
            except ValueError:  # the data set has no such split
                continue
        if not splits:
            raise self._unusable("has none of the splits train, test, validation")
        partial = folder.with_name(folder.name + ".partial")
        datasets.DatasetDict(splits).save_to_disk(str(partial))
        partial.rename(folder)

    def _check_repo(self) -> None:
        if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", self.repo):
            raise ConfigError("task.dataset", self.full_name, "name the data set, e.g. hf:uoft-cs/cifar10")

    def _unusable(self, why: str) -> ConfigError:
        return ConfigError("task.dataset", self.full_name, why)

    def _columns(self, features: Any) -> tuple[str, str]:
        kinds = {name: type(feature).__name__ for name, feature in features.items()}
        images = [name for name, kind in kinds.items() if kind == "Image"]
        labels = [name for name, kind in kinds.items() if kind == "ClassLabel"]
        if not images or not labels:
            raise self._unusable(f"needs an Image and a ClassLabel column, has {kinds}")
        return images[0], next((name for name in PREFERRED_LABELS if name in labels), labels[0])

    def _images(self, split: Any, image_column: str, label_column: str) -> LabeledImages:
        pictures = [np.asarray(_grey_or_rgb(row)) for row in split[image_column]]
        shapes = {picture.shape for picture in pictures}
        if len(shapes) != 1:
            raise self._unusable(f"needs images of one size, found {len(shapes)} sizes, e.g. {sorted(shapes)[:3]}")
        stacked = np.stack(pictures)
        stacked = stacked[:, None] if stacked.ndim == 3 else stacked.transpose(0, 3, 1, 2)
        return LabeledImages(
            torch.from_numpy(np.ascontiguousarray(stacked)), torch.as_tensor(split[label_column][:], dtype=torch.int64)
        )


def _grey_or_rgb(picture: Any) -> Any:
    return picture if picture.mode == "L" else picture.convert("RGB")


def _known_names(repo: str) -> tuple[str, ...] | None:
    known = {
        "ylecun/mnist": names.DIGITS,
        "zalando-datasets/fashion_mnist": names.FASHION,
        "ufldl-stanford/svhn": names.HOUSE_NUMBERS,
    }
    return known.get(repo)


def _datasets_module(name: str) -> Any:
    try:
        import datasets
    except ModuleNotFoundError as error:
        allowed = 'needs the extra: pip install "fedcrucible[datasets]"'
        raise ConfigError("task.dataset", name, allowed) from error
    return datasets
