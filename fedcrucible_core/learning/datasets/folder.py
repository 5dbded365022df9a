"""A folder of pictures by class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from fedcrucible_core.learning.datasets.base import DATASETS, READ_AS_IT_IS, PublishedData, Reading
from fedcrucible_core.learning.datasets.folder_layout import EXPECTED, list_folder
from fedcrucible_core.learning.datasets.own import OwnData


@DATASETS.register("folder")
class PictureFolder(OwnData):
    """Own pictures in class folders, or in folders ``train`` and ``test`` (and ``validation``) of class folders.

    The folder is ``task.data_dir``, or ``task.dataset="folder:PLACE"`` within it.  Without a folder ``test`` a share of
    the pictures is set aside (``task.test_fraction``).  Pictures of several sizes need ``task.image_size``.  Classes
    are the folders' names in order of code points, whole numbers by size; folders inside a class folder belong to it;
    hidden files are no data; a file that is no usable picture is left out and reported.
    """

    paper = "no publication: the layout of torchvision's ImageFolder and of imagefolder on the Hugging Face hub"
    holds: ClassVar[str] = EXPECTED

    def read(self, root: Path, reading: Reading = READ_AS_IT_IS) -> PublishedData:
        """Read all pictures. Raises ConfigError for a folder that can't be used, naming it and the classes."""
        place = self.at(root)
        return self.of_files(list_folder(place), reading, place)

    def names(self, root: Path, reading: Reading = READ_AS_IT_IS) -> Sequence[str]:  # noqa: ARG002
        """The files' paths within the folder; none of them is opened."""
        place = self.at(root)
        return [str(item.file.relative_to(place)) for items in list_folder(place).splits.values() for item in items]
