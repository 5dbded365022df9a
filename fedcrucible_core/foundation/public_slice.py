"""The guide's own public slice: labelled samples that are no client's, no validation's and no test's."""

from __future__ import annotations

import numpy as np
import torch

from fedcrucible_core.config import ConfigError
from fedcrucible_core.foundation.cache import files_digest
from fedcrucible_core.foundation.pixels import fit
from fedcrucible_core.foundation.sources.fashion import fashion_classes
from fedcrucible_core.learning.data import DataInfo, Labeled

KEY = "synthetic.source"


def public_samples(info: DataInfo) -> Labeled:
    """The public samples of a data set's classes, classes in turn, as a model takes them.

    Pictures: 2,000 of the 10,000 Fashion-MNIST images that the shipped guide was trained on.  Texts: those which the
    embedded sets put aside.

    Raises:
        ConfigError: no public slice of these classes ships.
    """
    if info.task == "text":
        from fedcrucible_core.learning.datasets.public import public_slice

        return public_slice(info)
    from fedcrucible_assets import asset_path

    classes = fashion_classes(info, "public")
    with np.load(asset_path("fashion-public")) as file:
        shipped, published = torch.from_numpy(file["images"]), torch.from_numpy(file["labels"]).long()
    number = torch.full((int(published.max()) + 1,), -1)
    number[classes] = torch.arange(info.num_classes)
    labels = number[published]
    wanted = labels >= 0
    images = fit(shipped[wanted][:, None].to(torch.float32) / 255.0, info.shape)
    return Labeled(images, labels[wanted])


def public_fingerprint() -> str:
    """Content hash of the shipped pictures."""
    from fedcrucible_assets import asset_path

    return files_digest([asset_path("fashion-public")])


def check_public(info: DataInfo, key: str, value: object) -> None:
    """Raise ConfigError that names ``key`` where no public slice of a data set's classes ships."""
    try:
        public_samples(info)
    except ConfigError as error:
        raise ConfigError(key, value, f"there is no public slice of {info.name} ({error.allowed})") from error
