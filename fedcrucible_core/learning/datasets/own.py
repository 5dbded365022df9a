"""What own data have in common, however they are stored: where they lie, and how they become a published set."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.places import default_data_folder
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.datasets.base import READ_AS_IT_IS, DatasetSource, PublishedData, Reading
from fedcrucible_core.learning.datasets.listing import KEY, Listing, check_classes
from fedcrucible_core.learning.datasets.pictures import stack_splits
from fedcrucible_core.learning.datasets.read_pictures import read_listing


class OwnData(DatasetSource):
    """Data of the user's own: the whole place is the data set, nothing is downloaded.

    ``task.dataset`` names the kind, alone (the place is ``task.data_dir``, or a node's own ``data-dir``) or followed by
    a colon and a place, relative to ``task.data_dir``.
    """

    after_colon: ClassVar[str] = "place"
    holds: ClassVar[str] = ""
    """What must lie at the place, in words."""
    place: str = Field("", description="Where it lies, from the data folder; empty = the data folder itself")

    @property
    def full_name(self) -> str:
        """The name in ``task.dataset``."""
        return f"{self.name}:{self.place}" if self.place else self.name

    def at(self, root: Path) -> Path:
        """The place. Raises ConfigError where there is nothing, or none is named."""
        if not self.place and root == default_data_folder():
            raise ConfigError(KEY, "", f"task.dataset = {self.name!r} needs a place: {self.holds}")
        place = root / Path(self.place).expanduser() if self.place else root
        if not place.exists():
            raise ConfigError(KEY, str(place), f"nothing is there; {self.full_name} needs {self.holds}")
        return place

    def prepare(self, root: Path) -> None:
        """Nothing to fetch. Raises ConfigError where the place is empty."""
        self.at(root)

    @abstractmethod
    def read(self, root: Path, reading: Reading = READ_AS_IT_IS) -> PublishedData:
        """Read all splits. Raises ConfigError for what can't be used, naming the place."""

    def published(
        self,
        images: Mapping[str, Tensor],
        labels: Mapping[str, Tensor],
        classes: tuple[str, ...],
        notes: tuple[str, ...],
        rows: Mapping[str, Tensor] | None = None,
        left_out: tuple[tuple[str, str], ...] = (),
    ) -> PublishedData:
        """A set of images uint8 ``[n, C, H, W]`` and labels int64 ``[n]`` by split, normalised with 0.5 and 0.5."""
        channels, height, width = images["train"].shape[1:]
        info = DataInfo(
            self.full_name,
            tuple(name.replace("_", " ").strip() or name for name in classes),
            (channels, height, width),
            (0.5,) * channels,
            (0.5,) * channels,
        )
        splits = {
            split: Labeled(images[split], labels[split], None if rows is None else rows[split])
            for split in images
            if len(images[split])
        }
        train, test = splits["train"], splits.get("test")
        validation = splits.get("validation")
        return PublishedData(info, train=train, test=test, validation=validation, notes=notes, left_out=left_out)

    def of_files(self, listing: Listing, reading: Reading, place: Path) -> PublishedData:
        """Read listed picture files; what can't be used is left out with a note."""
        check_classes(listing, str(place))
        found = read_listing(listing, reading.image_size, str(place))
        kept = Listing({split: items for split, (_, items) in found.items()}, listing.classes, listing.skipped)
        notes = (*check_classes(kept, str(place)), *kept.skipped.notes())
        images = stack_splits({split: pixels for split, (pixels, _) in found.items()}, self.full_name)
        labels = {split: torch.tensor([item.label for item in items]) for split, items in kept.splits.items()}
        rows = {split: torch.tensor([item.row for item in items]) for split, items in kept.splits.items()}
        return self.published(
            images, labels, listing.classes, notes, rows, kept.skipped.within(place if place.is_dir() else place.parent)
        )
