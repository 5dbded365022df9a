"""What attack success is measured on, built once per run."""

from __future__ import annotations

import torch
from torch import Tensor

from attacks.base import Attack
from attacks.task import AttackTask
from fedcrucible_core.learning.data import Labeled

CHUNK = 1000
"""Images poisoned at a time, to bound the memory of attacks with large intermediate tensors."""


def triggered_test_set(attack: Attack, test: Labeled, task: AttackTask) -> Labeled:
    """The attack's full trigger on every test image that it is about and whose true class is not the target.

    Natural attacks put no trigger on images: theirs are the test images with the attribute, or inputs held out
    elsewhere.

    Returns:
        Inputs float32 ``[m, C, H, W]`` in [0, 1] as the attacker presents them, and their true classes, none of them
        the target.  ``rows`` (ascending) are those of the test images they were made from; None = from elsewhere.

    Raises:
        TypeError: the attack is untargeted.
        ValueError: there is no such image, so success can't be measured.
    """
    if not attack.targeted:
        raise TypeError(f"attack {attack.name!r} is untargeted: no ASR is measured")
    images, rows, outside = _inputs(attack, test, task)
    if not len(rows):
        what = f"none of {len(images)} images is one that ASR could be measured on"
        raise ValueError(f"{what}: {attack.inputs} of another class than the target {task.target}")
    chosen = images.subset(rows)
    if outside:
        return Labeled(chosen.for_model(), chosen.labels, None)
    parts = [
        attack.poison_test(chosen.subset(part).for_model()) for part in torch.split(torch.arange(len(rows)), CHUNK)
    ]
    return Labeled(torch.cat(parts), chosen.labels, rows)


def has_inputs(attack: Attack, test: Labeled, task: AttackTask) -> bool:
    """Whether success of a targeted attack can be measured."""
    return len(_inputs(attack, test, task)[1]) > 0


def _inputs(attack: Attack, test: Labeled, task: AttackTask) -> tuple[Labeled, Tensor, bool]:
    """Images, those rows of them that count, and whether they are from outside ``test``."""
    outside = attack.held_out(task)
    images = test if outside is None else outside
    kept = images.labels != task.target
    carriers = attack.carriers(images, task) if outside is None else None
    return images, (kept if carriers is None else kept & carriers).nonzero().flatten(), outside is not None
