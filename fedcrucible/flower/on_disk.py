"""A folder's room in the place of memory, for models of which a round's replies don't fit there."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from logging import WARNING
from pathlib import Path

import torch
from flwr.app import Array, ArrayRecord, Message, RecordDict
from flwr.common.logger import log
from torch import Tensor

from fedcrucible.flower.freed_memory import give_back
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.plain_text import error_text
from strategies.records import records_of

SMALL = 2**20
"""Bytes of a reply that stay in memory."""
_ALIGNMENT = 64


@dataclass(frozen=True)
class DiskRoom:
    """Replies and updates in nameless files of a folder, mapped into memory: the system drops pages that it needs.

    The files go when nobody holds what is in them, however the process ends, and take no descriptors.

    Raises:
        ConfigError: nothing can be written there.
    """

    folder: Path

    def __post_init__(self) -> None:
        try:
            self._mapped(1)
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
        except Exception as error:  # no room, or whatever an odd reply holds: it is checked where all replies are
            log(WARNING, "a reply stays in memory and is not put into %s: %s", self.folder, error_text(error))
        return message

    def matrix(self, rows: int, columns: int, dtype: torch.dtype) -> Tensor:
        """A matrix ``[rows, columns]`` of zeros. Raises RuntimeError where there is no room."""
        try:
            return self._mapped(rows * columns, dtype).view(rows, columns)
        except OSError as error:
            raise RuntimeError(f"no room for updates on disk: {error.strerror or error}") from None

    def _copied(self, records: Mapping[str, ArrayRecord], size: int) -> dict[str, ArrayRecord]:
        place, start = memoryview(self._mapped(size).numpy()), 0  # type: ignore[arg-type]
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

    def _mapped(self, size: int, dtype: torch.dtype = torch.uint8) -> Tensor:
        """So many zeros in a file that has a name no longer, and of which no descriptor is kept."""
        if not size:
            return torch.zeros(0, dtype=dtype)
        with tempfile.NamedTemporaryFile(dir=self.folder) as file:
            length = size * dtype.itemsize
            if hasattr(os, "posix_fallocate"):  # else a full disk kills the process when the memory is written to
                os.posix_fallocate(file.fileno(), 0, length)
            else:
                file.truncate(length)
            try:
                return torch.from_file(file.name, shared=True, size=size, dtype=dtype)
            except RuntimeError as error:
                raise OSError(errno.ENOMEM, str(error)) from None


def _padded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
