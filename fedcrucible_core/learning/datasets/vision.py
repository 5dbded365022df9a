"""Public image data sets in the formats that their authors publish, read by torchvision."""

from __future__ import annotations

import os
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from fedcrucible_core.config.citation import Paper
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.datasets import names
from fedcrucible_core.learning.datasets.base import (
    DATASETS,
    READ_AS_IT_IS,
    DatasetSource,
    PublishedData,
    Reading,
    absent,
)
from fedcrucible_core.learning.datasets.shipped import FASHION_MEAN, FASHION_STD

IDX_FILES = (
    "train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz"
)


def _pack(images: Any, labels: Any) -> Labeled:
    """Images ``[n, C, H, W]`` (array or tensor, uint8) and any sequence of labels as contiguous tensors."""
    return Labeled(
        torch.as_tensor(np.ascontiguousarray(images), dtype=torch.uint8),
        torch.as_tensor(np.asarray(labels), dtype=torch.int64),
    )


class TorchvisionSource(DatasetSource):
    """A data set that torchvision can open; ``root`` is torchvision's own ``root``, so existing folders work."""

    @abstractmethod
    def info(self) -> DataInfo:
        """Class names, shape and normalisation constants."""

    @abstractmethod
    def open_split(self, root: Path, train: bool, download: bool = False) -> Labeled:
        """One published split; raises torchvision's RuntimeError where files are absent or damaged."""

    def read(self, root: Path, reading: Reading = READ_AS_IT_IS) -> PublishedData:  # noqa: ARG002
        """Read both splits from ``root``. Raises ConfigError when they are absent or damaged."""
        if not root.is_dir():  # known without the seconds that torchvision takes to import
            raise absent(self.name, root)
        try:
            return PublishedData(self.info(), train=self.open_split(root, True), test=self.open_split(root, False))
        except (RuntimeError, OSError, ValueError, KeyError, AssertionError) as error:  # damaged files are all of these
            raise absent(self.name, root) from error

    def prepare(self, root: Path) -> None:
        """Download and unpack into ``root`` what is not there yet."""
        root.mkdir(parents=True, exist_ok=True)
        for train in (True, False):
            self.open_split(root, train, download=True)


@DATASETS.register("mnist")
class Mnist(TorchvisionSource):
    """Handwritten digits: 60,000 training and 10,000 test images, 28x28 grey, 10 classes."""

    paper = ("lecun1998", "")
    by_hand = f"put {IDX_FILES} of https://ossci-datasets.s3.amazonaws.com/mnist/ into {{root}}/MNIST/raw"

    def info(self) -> DataInfo:
        """Facts of MNIST."""
        return DataInfo(self.name, names.DIGITS, (1, 28, 28), (0.1307,), (0.3081,))

    def open_split(self, root: Path, train: bool, download: bool = False) -> Labeled:
        """Read ``root/MNIST/raw``."""
        from torchvision.datasets import MNIST

        data = MNIST(root, train=train, download=download)
        return _pack(data.data[:, None], data.targets)


@DATASETS.register("fashion-mnist")
class FashionMnist(TorchvisionSource):
    """All of Fashion-MNIST: 60,000 training and 10,000 test images, 28x28 grey, 10 classes.

    The shipped guide and generator learned from 10,000 of these training images; prefer ``fashion-mnist-slice`` with
    them.
    """

    paper = ("xiao2017fashion", "")
    by_hand = (
        f"put {IDX_FILES} of http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/ into {{root}}/FashionMNIST/raw"
    )

    def info(self) -> DataInfo:
        """Facts of Fashion-MNIST."""
        return DataInfo(self.name, names.FASHION, (1, 28, 28), FASHION_MEAN, FASHION_STD)

    def open_split(self, root: Path, train: bool, download: bool = False) -> Labeled:
        """Read ``root/FashionMNIST/raw``."""
        from torchvision.datasets import FashionMNIST

        data = FashionMNIST(root, train=train, download=download)
        return _pack(data.data[:, None], data.targets)


@DATASETS.register("cifar10")
class Cifar10(TorchvisionSource):
    """Natural images: 50,000 training and 10,000 test images, 32x32 colour, 10 classes."""

    paper: ClassVar[Paper] = ("krizhevsky2009", "")
    by_hand = "put https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz into {root}"

    def info(self) -> DataInfo:
        """Facts of CIFAR-10."""
        return DataInfo(self.name, names.CIFAR10, (3, 32, 32), (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))

    def open_split(self, root: Path, train: bool, download: bool = False) -> Labeled:
        """Read ``root/cifar-10-batches-py``."""
        from torchvision.datasets import CIFAR10

        data = CIFAR10(root, train=train, download=download)
        return _pack(data.data.transpose(0, 3, 1, 2), data.targets)


@DATASETS.register("cifar10-lt")
class Cifar10LongTail(Cifar10):
    """CIFAR-10 with a long tail: class counts fall exponentially; the test set stays balanced.

    ``task.imbalance_factor`` sets the factor, 10 where that is left at 1.  For the papers' exact counts (5000 images of
    the first class) set ``task.validation_fraction`` to 0: otherwise the validation images are taken out first.
    """

    paper = (("krizhevsky2009", ""), ("cui2019", "long tail"))
    choices = ("long-tail",)
    default_imbalance = 10.0


@DATASETS.register("cifar100")
class Cifar100(TorchvisionSource):
    """Natural images: 50,000 training and 10,000 test images, 32x32 colour, 100 classes."""

    paper: ClassVar[Paper] = ("krizhevsky2009", "")
    by_hand = "put https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz into {root}"

    def info(self) -> DataInfo:
        """Facts of CIFAR-100."""
        return DataInfo(self.name, names.CIFAR100, (3, 32, 32), (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))

    def open_split(self, root: Path, train: bool, download: bool = False) -> Labeled:
        """Read ``root/cifar-100-python`` (fine labels)."""
        from torchvision.datasets import CIFAR100

        data = CIFAR100(root, train=train, download=download)
        return _pack(data.data.transpose(0, 3, 1, 2), data.targets)


@DATASETS.register("svhn")
class Svhn(TorchvisionSource):
    """House-number digits: 73,257 training and 26,032 test images, 32x32 colour, 10 classes of unequal size."""

    paper = ("netzer2011svhn", "")
    by_hand = "put train_32x32.mat and test_32x32.mat of http://ufldl.stanford.edu/housenumbers/ into {root}"

    def info(self) -> DataInfo:
        """Facts of SVHN."""
        return DataInfo(self.name, names.HOUSE_NUMBERS, (3, 32, 32), (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970))

    def open_split(self, root: Path, train: bool, download: bool = False) -> Labeled:
        """Read ``root/train_32x32.mat`` or ``root/test_32x32.mat``."""
        from torchvision.datasets import SVHN

        data = SVHN(root, split="train" if train else "test", download=download)
        return _pack(data.data, data.labels)


@DATASETS.register("gtsrb")
class Gtsrb(TorchvisionSource):
    """German traffic signs: 26,640 training and 12,630 test images, 43 classes of unequal size, resized to 32x32.

    Whole images (no crop to the annotated box), resized once with PIL's antialiased bilinear filter; the result is kept
    beside the data as ``gtsrb/<split>-32.npz``.
    """

    paper = ("stallkamp2012gtsrb", "")
    by_hand = (
        "put GTSRB-Training_fixed.zip, GTSRB_Final_Test_Images.zip and GTSRB_Final_Test_GT.zip of "
        "https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370/published-archive.html into {root}/gtsrb"
    )

    def info(self) -> DataInfo:
        """Facts of GTSRB; normalisation constants as widely published."""
        return DataInfo(self.name, names.TRAFFIC_SIGNS, (3, 32, 32), (0.3403, 0.3121, 0.3214), (0.2724, 0.2608, 0.2669))

    def open_split(self, root: Path, train: bool, download: bool = False) -> Labeled:
        """Read the resized copy in ``root/gtsrb``; make it first from torchvision's folders where there is none."""
        split = "train" if train else "test"
        resized = root / "gtsrb" / f"{split}-32.npz"
        if not resized.exists():
            images, labels = self._resize(root, split, download)
            _save(resized, images=images, labels=labels)
            return _pack(images, labels)
        with np.load(resized) as arrays:
            return _pack(arrays["images"], arrays["labels"])

    def _resize(self, root: Path, split: str, download: bool) -> tuple[Any, Any]:
        from PIL import Image
        from torchvision.datasets import GTSRB

        data = GTSRB(root, split=split, download=download)
        images = np.empty((len(data), 3, 32, 32), dtype=np.uint8)
        labels = np.empty(len(data), dtype=np.int64)
        for i in range(len(data)):
            image, labels[i] = data[i]
            images[i] = np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
        return images, labels


def _save(path: Path, **arrays: Any) -> None:
    """Write an npz so that other processes see all of it or nothing; a read-only folder is no error."""
    partial = path.with_name(f"{path.stem}.{os.getpid()}.npz")
    try:
        np.savez(partial, **arrays)
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
