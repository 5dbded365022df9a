"""The triggered test set, built once per run."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from attacks.base import Attack

CHUNK = 1000
"""Images poisoned at a time, to bound the memory of attacks with large intermediate tensors."""


class TriggeredTestSet(NamedTuple):
    """Test images whose true class is not the target, with and without the trigger (SPEC F.1)."""

    triggered: Tensor
    """float32 ``[m, C, H, W]`` in [0, 1]."""
    labels: Tensor
    """True classes int64 ``[m]``; none equals the target."""
    untriggered: Tensor
    """The same images before the trigger, in the dtype they came in."""


def triggered_test_set(attack: Attack, images: Tensor, labels: Tensor, target: int) -> TriggeredTestSet:
    """Put the attack's full trigger on every test image whose true class is not ``target``.

    Args:
        attack: an attack with a trigger.
        images: uint8 ``[n, C, H, W]`` (0..255) or float in [0, 1]; not changed.
        labels: int64 ``[n]``.
        target: the target class y'.

    Raises:
        TypeError: the attack has no trigger.
        ValueError: every image is of the target class, so success can't be measured.
    """
    kept = labels != target
    if not bool(kept.any()):
        raise ValueError(f"all {len(labels)} test images are of the target class {target}: no ASR can be measured")
    untriggered = images[kept]
    triggered = torch.cat([attack.poison_test(_pixels(chunk)) for chunk in torch.split(untriggered, CHUNK)])
    return TriggeredTestSet(triggered, labels[kept], untriggered)


def _pixels(images: Tensor) -> Tensor:
    return images.to(torch.float32).div_(255.0) if images.dtype == torch.uint8 else images.to(torch.float32)
