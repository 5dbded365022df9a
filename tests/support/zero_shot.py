"""How well a guide alone classifies."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from fedcrucible_core.foundation.base import Guide
from fedcrucible_core.learning.evaluation import classes_of


def zero_shot_accuracy(guide: Guide, images: Tensor, labels: Tensor, class_names: Sequence[str]) -> float:
    """Percent of images ``[n, C, H, W]`` in [0, 1] whose most similar class text is their label's."""
    predicted = classes_of(guide.targets(images, class_names).logits)
    return 100.0 * float((predicted == labels.to(predicted.device)).float().mean())
