"""A folder's room in the place of memory, for models of which a round's replies don't fit there."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from logging import WARNING
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, Message, RecordDict
from flwr.common.logger import log
from torch import Tensor

from fedcrucible.flower.freed_memory import give_back
from fedcrucible_core.config import ConfigError
from strategies.records import records_of

SMALL = 2**20
"""Bytes of a reply that stay in memory."""
_ALIGNMENT = 64
_TYPES: Mapping[torch.dtype, np.dtype[Any]] = {
    torch.float32: np.dtype(np.float32),
    torch.float64: np.dtype(np.float64),
}


@dataclass(frozen=True)
class DiskRoom:
    """Replies and updates in nameless files of a folder, mapped into memory: the system drops pages that it needs.

    The files go when nobody holds what is in them, however the process ends.

    Raises:
        ConfigError: nothing can be written there.
    """

    folder: Path

    def __post_init__(self) -> None:
        try:
            self._file().close()
        except OSError as error:
            allowed = f"a folder that can be written to: {error.strerror or error}"
            raise ConfigError("on_disk", str(self.folder), allowed) from None

    def moved(self, message: Message) -> Message:
        """The same reply with its arrays on disk; as it is where it is small, odd, or there is no room (logged)."""
        try:
            content = RecordDict() if message.has_error() else message.content
            arrays = records_of(content, ArrayRecord)
            size = sum(_padded(len(array.data)) for record in arrays.values() for array in record.values())
            if size > SMALL:
                message.content = RecordDict({**content, **self._copied(arrays, size)})
                del content, arrays
                give_back()
        except OSError as error:
            log(WARNING, "a reply stays in memory: %s has no room for it: %s", self.folder, error.strerror or error)
        except Exception:  # whatever it holds: it is checked, and dropped, where replies are
            return message
        return message

    def matrix(self, rows: int, columns: int, dtype: torch.dtype) -> Tensor:
        """A matrix ``[rows, columns]`` float32 or float64 of zeros. Raises RuntimeError where there is no room."""
        held = _TYPES[dtype]
        try:
            place = self._mapped(max(1, rows * columns) * held.itemsize)
        except OSError as error:
            raise RuntimeError(f"no room for updates on disk: {error.strerror or error}") from None
        return torch.from_numpy(np.frombuffer(place, held, rows * columns).reshape(rows, columns))

    def _copied(self, records: Mapping[str, ArrayRecord], size: int) -> dict[str, ArrayRecord]:
        place, start = memoryview(self._mapped(size)), 0
        found: dict[str, ArrayRecord] = {}
        for key, record in records.items():
            found[key] = kept = ArrayRecord()
            for name, array in record.items():
                data = place[start : start + len(array.data)]
                data[:] = array.data
                kept[name] = Array(array.dtype, tuple(array.shape), array.stype, b"")
                kept[name].data = data.toreadonly()  # type: ignore[assignment]  # Flower's constructor wants bytes
                start += _padded(len(data))
        return found

    def _file(self) -> BinaryIO:
        return tempfile.TemporaryFile(dir=self.folder)

    def _mapped(self, size: int) -> mmap.mmap:
        with self._file() as file:
            if hasattr(os, "posix_fallocate"):  # else a full disk kills the process when the memory is written to
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
            return mmap.mmap(file.fileno(), size)


def _padded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
