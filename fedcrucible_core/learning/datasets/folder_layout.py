"""Class folders, directly or in folders of splits, to a listing of their pictures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.datasets.class_folders import match_names, refuse_look_alikes, spelled
from fedcrucible_core.learning.datasets.listing import KEY, MOST_PICTURES, SPLITS, Listed, Listing, shown, split_named
from fedcrucible_core.learning.datasets.picture_files import SUFFIXES, is_hidden, picture_files, sub_folders
from fedcrucible_core.learning.datasets.skipped import Skipped

WHOLE_NUMBER = re.compile(r"\d{1,18}")
EXPECTED = "one folder per class, or folders train and test (and validation) that hold one folder per class"


def list_folder(folder: Path) -> Listing:
    """The pictures of a folder; those in folders inside a class folder are the class's too.

    Classes are the class folders of all splits together.  They are ordered by the code points of their names (NFC),
    which is the order of torchvision's ``ImageFolder`` and of ``imagefolder`` on the hub; where all names are whole
    numbers, by size.

    Raises:
        ConfigError: on ``task.data_dir``: no such folder, no class folders, folders that could be either splits or
            classes, class folders that can't be told apart, a class of the test split alone, more than
            ``MOST_PICTURES``.
    """
    if not folder.is_dir():
        raise ConfigError(KEY, str(folder), f"no such folder; allowed: {EXPECTED}")
    skipped = Skipped()
    folders = {split: _class_folders(root, folder, skipped) for split, root in _splits(folder, skipped).items()}
    names = _names(folders, folder)
    splits: dict[str, list[Listed]] = {}
    listed = 0
    for split, found in folders.items():
        matched = match_names(names, list(found), KEY, str(folder))
        splits[split] = []
        for label, own in enumerate(matched):
            for file in picture_files(found[own], skipped) if own is not None else ():
                splits[split].append(Listed(file, label, listed))
                listed += 1
                if listed > MOST_PICTURES:
                    raise _too_many(folder)
    return Listing(splits, tuple(names), skipped)


def _too_many(folder: Path) -> ConfigError:
    allowed = f"has more than {MOST_PICTURES:,} pictures; allowed: fewer, e.g. a part of them in a folder of its own"
    return ConfigError(KEY, str(folder), allowed)


def _splits(folder: Path, skipped: Skipped) -> dict[str, Path]:
    """Split -> the folder that holds its class folders; ``train`` alone where there are no folders of splits.

    A folder of test pictures without class folders, thus without labels, is passed over.
    """
    inside = sub_folders(folder)
    named: dict[str, list[Path]] = {}
    for child in inside:
        split = split_named(child.name)
        if split is not None and sub_folders(child):
            named.setdefault(split, []).append(child)
    others = [child for child in inside if not any(child in found for found in named.values())]
    unlabelled = [child for child in others if split_named(child.name) is not None]
    if inside and len(unlabelled) == len(inside):
        raise ConfigError(KEY, str(folder), f"no class folders in {_names_of(unlabelled)}; allowed: {EXPECTED}")
    if not named or ("train" not in named and others):
        return {"train": folder}
    if len(unlabelled) < len(others):
        classes = _names_of([child for child in others if child not in unlabelled])
        allowed = f"{shown(sorted(named))} look like splits and {classes} like classes; allowed: {EXPECTED}"
        raise ConfigError(KEY, str(folder), allowed)
    twice = [found for found in named.values() if len(found) > 1]
    if twice:
        raise ConfigError(KEY, str(folder), f"{_names_of(twice[0])} are the same split twice")
    if "train" not in named:
        raise ConfigError(KEY, str(folder), f"has {shown(sorted(named))} but no folder train; allowed: {EXPECTED}")
    for child in unlabelled:
        for file in picture_files(child, skipped):
            skipped.add("in a split without class folders, so without a label", file)
    return {split: named[split][0] for split in SPLITS if split in named}


def _names_of(folders: Sequence[Path]) -> str:
    return shown([folder.name for folder in folders])


def _class_folders(root: Path, folder: Path, skipped: Skipped) -> dict[str, Path]:
    """Name -> class folder; pictures beside them are reported."""
    found = {child.name: child for child in sub_folders(root)}
    beside = [p for p in sorted(root.iterdir()) if not is_hidden(p.name) and p.is_file()]
    for file in beside:
        skipped.add("in no class folder", file)
    if not found:
        pictures = sum(file.suffix.lower() in SUFFIXES for file in beside)
        here = f"{pictures} pictures lie directly in it" if pictures else "it is empty"
        raise ConfigError(KEY, str(folder), f"no class folders in {root.name or root}, {here}; allowed: {EXPECTED}")
    return found


def _names(folders: dict[str, dict[str, Path]], folder: Path) -> list[str]:
    """Names of the class folders in label order, as the first split spells them."""
    names: list[str] = []
    for split, found in folders.items():
        refuse_look_alikes(list(found), "the class folders", KEY, str(folder))
        matched = match_names(names, list(found), KEY, str(folder))
        new = [name for name in found if name not in matched]
        if split == "test" and new:
            raise ConfigError(KEY, str(folder), f"the class {shown(new)} is in test but not in train")
        names += new
    return _ordered(names)


def _ordered(names: Iterable[str]) -> list[str]:
    names = list(names)
    if all(WHOLE_NUMBER.fullmatch(name) for name in names):
        return sorted(names, key=int)
    return sorted(names, key=spelled)
