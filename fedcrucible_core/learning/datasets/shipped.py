"""The slice of Fashion-MNIST that ships with the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from fedcrucible_assets import AssetMissingError, asset_path
from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.datasets import names
from fedcrucible_core.learning.datasets.base import DATASETS, READ_AS_IT_IS, DatasetSource, PublishedData, Reading

FASHION_MEAN, FASHION_STD = (0.2860,), (0.3530,)


def _images(asset: str) -> Labeled:
    with np.load(asset_path(asset)) as arrays:
        images = torch.from_numpy(arrays["images"]).unsqueeze(1)
        labels = torch.from_numpy(arrays["labels"].astype(np.int64))
    return Labeled(images, labels)


@DATASETS.register("fashion-mnist-slice")
class FashionMnistSlice(DatasetSource):
    """30,000 training, 2,000 validation and all 10,000 test images of Fashion-MNIST, 28x28 grey; ships, no download.

    Disjoint from the 10,000 training images that the shipped guide and generator learned from.
    """

    paper = ("xiao2017fashion", "split by tools/make_fashion_slice.py")
    ships = True

    def read(self, root: Path, reading: Reading = READ_AS_IT_IS) -> PublishedData:  # noqa: ARG002
        """Read the shipped files; ``root`` is not used."""
        info = DataInfo(self.name, names.FASHION, (1, 28, 28), FASHION_MEAN, FASHION_STD)
        try:
            return PublishedData(
                info,
                train=_images("fashion-train"),
                validation=_images("fashion-val"),
                test=_images("fashion-test"),
                train_is_stratified=True,
            )
        except AssetMissingError as error:
            raise ConfigError("task.dataset", self.name, str(error)) from error

    def public_slice(self, info: DataInfo) -> Labeled:  # noqa: ARG002
        """2,000 of the 10,000 images that the shipped guide and generator learned from, classes in turn."""
        return _images("fashion-public")

    def prepare(self, root: Path) -> None:
        """Nothing to do: the files ship with the package."""
