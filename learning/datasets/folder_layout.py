"""Class folders, directly or in folders of splits, to a listing of their pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from config import ConfigError
from learning.datasets.class_folders import match_names, refuse_look_alikes, spelled
from learning.datasets.listing import MOST_PICTURES, Listed, Listing, shown, split_named
from learning.datasets.picture_files import SUFFIXES, is_hidden, picture_files, sub_folders
from learning.datasets.skipped import Skipped

KEY = "task.data_dir"
EXPECTED = "one folder per class, or folders train and test (and validation) that hold one folder per class"


def list_folder(folder: Path, classes: Sequence[str] = ()) -> Listing:
    """The pictures of a folder.

    Classes are the class folders of all splits together, ordered by the code points of their names (NFC), which is the
    order of torchvision's ``ImageFolder`` and of ``imagefolder`` on the hub.  Where ``classes`` are given they and their
    order decide, and folders are matched to them (:func:`match_names`).

    Raises:
        ConfigError: on ``task.data_dir``: no such folder, no class folders, folders that could be either splits or
            classes, class folders that can't be told apart or belong to no class, more than ``MOST_PICTURES``.
    """
    if not folder.is_dir():
        raise ConfigError(KEY, str(folder), f"no such folder; allowed: {EXPECTED}")
    skipped = Skipped()
    roots = _splits(folder)
    folders = {split: _class_folders(root, folder, skipped) for split, root in roots.items()}
    names = _names(folders, folder, classes)
    splits: dict[str, list[Listed]] = {}
    for split, found in folders.items():
        matched = match_names(names, list(found), KEY, str(folder))
        _refuse_strangers(found, matched, split, folder, names)
        splits[split] = [
            Listed(file, name)
            for name, own in zip(names, matched, strict=True)
            if own is not None
            for file in picture_files(found[own], skipped)
        ]
        if sum(map(len, splits.values())) > MOST_PICTURES:
            raise too_many(str(folder))
    return Listing(splits, tuple(names), skipped)


def too_many(value: str) -> ConfigError:
    """The error for a data set that is larger than any that was meant."""
    return ConfigError(KEY, value, f"has more than {MOST_PICTURES:,} pictures; allowed: fewer, e.g. a part of them")


def _splits(folder: Path) -> dict[str, Path]:
    """Split -> the folder that holds its class folders; ``train`` alone where there are no folders of splits."""
    inside = sub_folders(folder)
    named: dict[str, list[Path]] = {}
    for child in inside:
        split = split_named(child.name)
        if split is not None and sub_folders(child):
            named.setdefault(split, []).append(child)
    others = [child.name for child in inside if not any(child in found for found in named.values())]
    if not named or ("train" not in named and others):
        return {"train": folder}
    if others:
        allowed = f"{shown(sorted(named))} look like splits and {shown(others)} like classes; allowed: {EXPECTED}"
        raise ConfigError(KEY, str(folder), allowed)
    twice = [found for found in named.values() if len(found) > 1]
    if twice:
        raise ConfigError(KEY, str(folder), f"{shown([path.name for path in twice[0]])} are the same split twice")
    if "train" not in named:
        raise ConfigError(KEY, str(folder), f"has {shown(sorted(named))} but no folder train; allowed: {EXPECTED}")
    return {split: named[split][0] for split in ("train", "validation", "test") if split in named}


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


def _names(folders: dict[str, dict[str, Path]], folder: Path, classes: Sequence[str]) -> list[str]:
    """Names of the classes in label order."""
    if classes:
        return list(classes)
    for found in folders.values():
        refuse_look_alikes(list(found), "the class folders", KEY, str(folder))
    names = {spelled(name): name for name in folders["train"]}
    for split, found in folders.items():
        matched = match_names(list(names.values()), list(found), KEY, str(folder))
        new = [name for name in found if name not in matched]
        if split == "test" and new:
            raise ConfigError(KEY, str(folder), f"class {shown(new)} is in test but not in train")
        names |= {spelled(name): name for name in new}
    return [names[key] for key in sorted(names)]


def _refuse_strangers(
    found: dict[str, Path], matched: Sequence[str | None], split: str, folder: Path, names: Sequence[str]
) -> None:
    strangers = [name for name in found if name not in matched]
    if strangers:
        allowed = f"class folder {shown(strangers)} of {split} is none of the classes {shown(names)}"
        raise ConfigError(KEY, str(folder), allowed)
