"""How an attacker poisons its data set: which images, how many, in place or in addition."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from attacks.base import Attack
from config.sections import AttackSection


def eligible_images(y: Tensor, attack: Attack, section: AttackSection) -> Tensor:
    """Ascending indices (int64) of the images that may be poisoned, given labels ``y`` int64 ``[n]``.

    Clean-label attacks: those of the target class.  Others: those of every other class, or all of them where
    ``section.poison_scope`` is ``all``.
    """
    if attack.clean_label:
        return (y == section.target_label).nonzero().flatten()
    if section.poison_scope == "non-target":
        return (y != section.target_label).nonzero().flatten()
    return torch.arange(len(y))


def poison_dataset(
    x: Tensor, y: Tensor, attack: Attack, section: AttackSection, part: int, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """An attacker's training set, poisoned as ``section`` says.

    ``replace`` overwrites floor(poison_ratio * E + 1/2) of the E eligible images, drawn without replacement.
    ``append-all`` keeps every image and appends a poisoned copy of each eligible one; ``poison_ratio`` has no meaning
    there (the 100% setting of layer-poisoning code, SPEC A.12).

    Args:
        x: float32 ``[n, C, H, W]`` in [0, 1], on the CPU; not changed.
        y: int64 ``[n]``; not changed.
        attack: the attack whose ``poison_train`` is applied.
        section: target, ratio, mode and scope.
        part: number of this attacker among the malicious clients (0, 1, ...).
        rng: CPU generator, the only source of chance.

    Returns:
        New tensors ``x' [n', C, H, W]`` and ``y' [n']``; n' = n, or n + E for ``append-all``.
    """
    eligible = eligible_images(y, attack, section)
    if not len(eligible):
        return x.clone(), y.clone()
    if section.poison_mode == "append-all":
        added_x, added_y = attack.poison_train(x[eligible], y[eligible], section.target_label, part, rng)
        return torch.cat([x, added_x]), torch.cat([y, added_y])
    count = math.floor(section.poison_ratio * len(eligible) + 0.5)
    chosen = eligible[torch.randperm(len(eligible), generator=rng)[:count]].sort().values
    poisoned_x, poisoned_y = x.clone(), y.clone()
    if count:
        poisoned_x[chosen], poisoned_y[chosen] = attack.poison_train(
            x[chosen], y[chosen], section.target_label, part, rng
        )
    return poisoned_x, poisoned_y
