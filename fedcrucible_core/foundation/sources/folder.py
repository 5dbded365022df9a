"""Synthetic images that somebody made beforehand: a folder of pictures by class."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch
from pydantic import Field

from fedcrucible_core.config import ConfigError
from fedcrucible_core.foundation.base import SOURCES, Provenance, Samples, SourceError, SyntheticSource
from fedcrucible_core.foundation.cache import digest
from fedcrucible_core.foundation.pixels import fit
from fedcrucible_core.foundation.sources.fashion import interleaved_labels
from fedcrucible_core.foundation.sources.pictures import decode_picture
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.datasets.class_folders import match_names
from fedcrucible_core.learning.datasets.picture_files import picture_files, sub_folders
from fedcrucible_core.learning.rng import torch_generator

READING = "2"
"""Raise it when the same files would give other images, or go to other classes."""


@SOURCES.register("folder")
class FolderSource(SyntheticSource):
    """A folder of pictures with one sub-folder per class, named like the class.

    The exact name goes first; else case and separators don't matter: ``T-shirt/top`` may be ``t-shirt_top``. Pictures
    of any size and common format: the middle part of the right proportions is taken and resized. Where the pictures
    come from is yours to say beside results.
    """

    paper = "no publication: own pictures"
    choices = ("offline-images", "server-images")
    knowledge: ClassVar[tuple[str, ...]] = ("labelled images of the same classes",)

    path: str = Field("", description="Folder with one sub-folder of pictures per class")

    def generate(self, info: DataInfo, per_class: int, seed: int, device: torch.device) -> Samples:  # noqa: ARG002
        """``per_class`` pictures of every class without repetition, drawn by seed, classes in turn.

        Raises:
            ConfigError: no such folder, classes without a sub-folder of their own, or too few pictures (all of them are
                named).
            SourceError: a picture that can't be read.
        """
        folder = self._folder()
        files = self._enough_files(folder, info, per_class)
        drawn = []
        for label, found in enumerate(files):
            order = torch.randperm(len(found), generator=torch_generator(seed, "synthetic/folder", label))
            drawn.append([(i, found[i]) for i in order[:per_class].tolist()])
        picked = [pick for row in zip(*drawn, strict=True) for pick in row]
        images, provenance = [], []
        for index, file in picked:
            try:
                picture = decode_picture(file, info.shape[0])
            except ValueError as error:
                raise SourceError(f"{file}: {error}; replace or remove it") from error
            images.append(fit(picture[None], info.shape))
            provenance.append(Provenance(self.name, file.relative_to(folder).as_posix(), index))
        labels = interleaved_labels(info.num_classes, per_class)
        return Samples(Labeled(torch.cat(images), labels), tuple(provenance))

    def check(self, info: DataInfo, per_class: int) -> None:
        """Every class has a sub-folder with enough pictures. Raises ConfigError."""
        super().check(info, per_class)
        self._enough_files(self._folder(), info, per_class)

    def fingerprint(self) -> str:
        """Hash of every picture's path, size and time of change, and of the way in which they are read."""
        folder = self._folder()
        stamps = []
        for file in (file for child in sub_folders(folder) for file in picture_files(child)):
            status = file.stat()
            stamps.append(f"{file.relative_to(folder).as_posix()} {status.st_size} {status.st_mtime_ns}")
        return digest(READING, str(folder.resolve()), *stamps)

    def _folder(self) -> Path:
        folder = Path(self.path).expanduser()
        if not self.path or not folder.is_dir():
            raise ConfigError("synthetic.folder.path", self.path, "must be a folder with one sub-folder per class")
        return folder

    def _enough_files(self, folder: Path, info: DataInfo, per_class: int) -> list[list[Path]]:
        files = self._files(folder, info)
        by_class = list(zip(info.class_names, files, strict=True))
        few = [f"{name} ({len(found)})" for name, found in by_class if 0 < len(found) < per_class]
        missing = [name for name, found in by_class if not found]
        if missing or few:
            problems = [f"no pictures of {', '.join(missing)}"] if missing else []
            problems += [f"fewer than {per_class} pictures (synthetic.per_class) of {', '.join(few)}"] if few else []
            raise ConfigError("synthetic.folder.path", self.path, "; ".join(problems))
        return files

    def _files(self, folder: Path, info: DataInfo) -> list[list[Path]]:
        """Picture files of each class, in name order."""
        folders = {path.name: path for path in sub_folders(folder)}
        matched = match_names(info.class_names, list(folders), "synthetic.folder.path", self.path)
        return [list(picture_files(folders[name])) if name is not None else [] for name in matched]
