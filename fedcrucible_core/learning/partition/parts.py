"""The images of every client as two arrays: no object per client, whose number may be large."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, overload

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

if TYPE_CHECKING:
    from typing import Self

Rows = npt.NDArray[np.int64]


class Parts(Sequence[Rows]):
    """Row numbers, int64 and ascending, of each client 0, 1, ...; a part is a view that is made when it is asked for.

    Memory is 8 bytes for each row and 8 for each client.
    """

    def __init__(self, order: Rows, ends: Rows) -> None:
        """``order`` ``[M]``: the parts one after the other; ``ends`` ``[clients]``: where each one ends in it."""
        self.order = order
        self.ends = ends

    @classmethod
    def of(cls, owners: Rows, clients: int) -> Self:
        """The parts of ``clients`` clients, of the owner 0..clients-1 of each row, int64 ``[M]``."""
        sizes = np.bincount(owners, minlength=clients)
        return cls(np.argsort(owners, kind="stable").astype(np.int64, copy=False), np.cumsum(sizes))

    @property
    def sizes(self) -> Rows:
        """Rows of each client, int64 ``[clients]``."""
        return np.diff(self.ends, prepend=0)

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, client: int) -> Rows: ...

    @overload
    def __getitem__(self, client: slice) -> list[Rows]: ...

    def __getitem__(self, client: int | slice) -> Rows | list[Rows]:
        if isinstance(client, slice):
            return [self[i] for i in range(*client.indices(len(self)))]
        i = range(len(self))[client]
        return self.order[self.ends[i - 1] if i else 0 : self.ends[i]]

    def tensor(self, client: int) -> Tensor:
        """A client's rows as an int64 tensor, on the memory of all parts."""
        return torch.from_numpy(self[client])
