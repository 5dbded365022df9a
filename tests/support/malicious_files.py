"""Files that run a program when they are unpickled, in every wrapping that a loader of ours might open."""

from __future__ import annotations

import gzip
import io
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch


class Payload:
    """Pickled, it makes a file at ``mark`` as soon as it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self.mark,)


def as_pickle(mark: Path) -> bytes:
    """A plain pickle."""
    return pickle.dumps({"data": Payload(mark), "labels": [0], "state_dict": Payload(mark)})


def as_torch(mark: Path, *, old: bool = False) -> bytes:
    """What ``torch.save`` makes of it, in the format of today or of old."""
    stream = io.BytesIO()
    torch.save({"weight": Payload(mark)}, stream, _use_new_zipfile_serialization=not old)
    return stream.getvalue()


def as_npy(mark: Path) -> bytes:
    """An array of one Python object."""
    holder = np.empty(1, dtype=object)
    holder[0] = Payload(mark)
    stream = io.BytesIO()
    np.save(stream, holder, allow_pickle=True)
    return stream.getvalue()


def as_npz(mark: Path, names: tuple[str, ...] = ("images", "labels")) -> bytes:
    """Arrays of Python objects under the names that a data set would have."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(f"{name}.npy", as_npy(mark))
    return stream.getvalue()


def wrappings(mark: Path) -> Mapping[str, bytes]:
    """All of them by what they are."""
    return {
        "pickle": as_pickle(mark),
        "gzipped pickle": gzip.compress(as_pickle(mark)),
        "torch file": as_torch(mark),
        "old torch file": as_torch(mark, old=True),
        "npy of objects": as_npy(mark),
        "npz of objects": as_npz(mark),
        "npz of objects in splits": as_npz(mark, ("x_train", "y_train", "x_test", "y_test")),
    }
