"""Where images stand in a set, told by their pixels: subsets and copies renumber them."""

from __future__ import annotations

import torch
from torch import Tensor

from attacks.support.stored import stored_pixels


def rows_in(images: Tensor, of: Tensor) -> Tensor:
    """The row in ``of`` of each of ``images`` (both ``[n, C, H, W]``, stored or in [0, 1]): int64 ``[n]``; -1 = none.

    The first of several equal ones.
    """
    known: dict[bytes, int] = {}
    for row, image in enumerate(stored_pixels(of)):
        known.setdefault(image.numpy().tobytes(), row)
    return torch.tensor([known.get(image.numpy().tobytes(), -1) for image in stored_pixels(images)], dtype=torch.int64)
