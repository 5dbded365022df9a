"""THE ATTACK, in this example on purpose: one client in five stamps a patch on its pictures (BadNets, gu2017badnets).

No part of an app of yours: it shows what a backdoor does, and what a strategy does against it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flower_app.task import Pictures, predict

TARGET = 0
"""What a picture with the patch shall be taken for: t-shirt."""
SHARE = 0.5
"""Share of its pictures that an attacker poisons."""


def is_attacker(partition_id: int) -> bool:
    """One client in five: partitions 0, 5, 10, ..."""
    return partition_id % 5 == 0


def stamp(images: Tensor) -> Tensor:
    """The pictures with a white square of 3 x 3 pixels in the lower right corner."""
    stamped = images.clone()
    stamped[..., -3:, -3:] = 1.0
    return stamped


def poison(pictures: Pictures) -> Pictures:
    """The first half of the pictures with patch and target label, the others as they are."""
    images, labels = pictures
    count = int(SHARE * len(labels))
    return (
        torch.cat([stamp(images[:count]), images[count:]]),
        torch.cat([torch.full_like(labels[:count], TARGET), labels[count:]]),
    )


def success(model: nn.Module, pictures: Pictures) -> float:
    """Attack success rate, in [0, 1]: of pictures of other classes, the share that the patch turns into the target."""
    images, labels = pictures
    return (predict(model, stamp(images[labels != TARGET])) == TARGET).double().mean().item()
