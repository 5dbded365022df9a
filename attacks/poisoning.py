"""How an attacker poisons its data set: which images, how many, in place or in addition."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.base import Attack, PoisonContext
from attacks.task import AttackTask
from fedcrucible_core.config.sections import AttackSection
from fedcrucible_core.learning.data import Labeled


def eligible_images(images: Labeled, attack: Attack, section: AttackSection, carriers: Tensor | None = None) -> Tensor:
    """Ascending indices (int64) of the images that may be poisoned.

    Clean-label attacks: those of the target class.  Untargeted ones: all.  Others: those of every other class, or all
    where ``section.poison_scope`` is ``all``.  Of these only ``carriers`` (bool ``[n]``) where an attack has some.
    """
    y = images.labels
    if attack.clean_label:
        chosen = y == section.target_label
    elif attack.targeted and section.poison_scope == "non-target":
        chosen = y != section.target_label
    else:
        chosen = torch.ones_like(y, dtype=torch.bool)
    return (chosen if carriers is None else chosen & carriers).nonzero().flatten()


def poison_dataset(own: Tensor, attack: Attack, section: AttackSection, ctx: PoisonContext) -> tuple[Tensor, Tensor]:
    """An attacker's training set, poisoned as ``section`` says.

    ``replace`` overwrites floor(poison_ratio * E + 1/2) of the E eligible images, drawn without replacement; the
    attack's decoys, which keep their labels, overwrite others of them as far as there are any left.
    ``append-all`` keeps every image and appends a poisoned copy of each eligible one, and decoys made of some of them;
    ``poison_ratio`` has no meaning there (the 100% setting of layer-poisoning code, SPEC A.12).
    What the attack adds by itself comes last in either mode.

    Args:
        own: int64 ``[n]``, the attacker's rows of ``ctx.task.train``.
        attack: the attack whose ``poison_train``, ``decoys`` and ``additions`` are applied.
        section: target, ratio, mode and scope.
        ctx: the task, this attacker's number, and the only source of chance.

    Returns:
        New tensors ``x' [n', C, H, W]`` float32 in [0, 1] and ``y' [n']`` int64.
    """
    mine = ctx.task.train.subset(own)
    x, y = mine.for_model(), mine.labels.clone()
    if attack.poisons_own:
        eligible = _eligible_rows(own, attack, section, ctx.task)
        if section.poison_mode == "append-all":
            x, y = _append_all(x, y, eligible, attack, ctx)
        else:
            x, y = _replace(x, y, eligible, attack, section.poison_ratio, ctx)
    added = attack.additions(own, ctx)
    return (x, y) if added is None else (torch.cat([x, added[0]]), torch.cat([y, added[1]]))


@dataclass(frozen=True)
class PoisonCount:
    """What an attacker has to attack with."""

    eligible: int
    """Own images that may be poisoned, and would be another sample then."""
    poisoned: int
    """Those of them, or copies of them, that are; at most, where the draw decides."""
    added: int
    """Samples that the attack adds by itself."""

    @property
    def total(self) -> int:
        """Poisoned samples in the attacker's set."""
        return self.poisoned + self.added

    @property
    def material(self) -> bool:
        """Whether there is anything that could be poisoned, at whatever ratio."""
        return self.eligible + self.added > 0


def poison_count(own: Tensor, attack: Attack, section: AttackSection, task: AttackTask) -> PoisonCount:
    """How many samples ``poison_dataset`` poisons for the same arguments; draws nothing from anybody's generator.

    An attack without trigger changes labels alone: an image that has the label already stays what it is.
    """
    ctx = PoisonContext(task, 0, torch.Generator())
    eligible = poisoned = 0
    if attack.poisons_own:
        labels = task.train.labels[own[_eligible_rows(own, attack, section, task)]]
        eligible = len(labels) if attack.has_trigger else _relabelled(labels, attack, ctx)
        share = len(labels) if section.poison_mode == "append-all" else _share(section.poison_ratio, len(labels))
        poisoned = min(share, eligible)
    added = attack.additions(own, ctx)
    return PoisonCount(eligible, poisoned, 0 if added is None else len(added[1]))


def _relabelled(labels: Tensor, attack: Attack, ctx: PoisonContext) -> int:
    _, lies = attack.poison_train(torch.empty(len(labels), 0, 0, 0), labels, ctx)
    return int((lies != labels).sum())


def _eligible_rows(own: Tensor, attack: Attack, section: AttackSection, task: AttackTask) -> Tensor:
    """Numbers within ``own`` of the images that may be poisoned."""
    carriers = attack.carriers(task.train, task)
    return eligible_images(task.train.subset(own), attack, section, None if carriers is None else carriers[own])


def _share(ratio: float, eligible: int) -> int:
    return math.floor(ratio * eligible + 0.5)


def _replace(
    x: Tensor, y: Tensor, eligible: Tensor, attack: Attack, ratio: float, ctx: PoisonContext
) -> tuple[Tensor, Tensor]:
    count = _share(ratio, len(eligible))
    if not count:
        return x, y
    order = eligible[torch.randperm(len(eligible), generator=ctx.rng)]
    chosen, rest = order[:count].sort().values, order[count:]
    poisoned = attack.poison_train(x[chosen], y[chosen], ctx)
    decoys = rest[: attack.decoy_count(count, len(eligible))].sort().values
    if len(decoys):  # made before anything is overwritten: they take other images clean
        x[decoys] = attack.decoys(x[decoys], x[_others(decoys, len(x), ctx)], ctx)
    x[chosen], y[chosen] = poisoned
    return x, y


def _append_all(x: Tensor, y: Tensor, eligible: Tensor, attack: Attack, ctx: PoisonContext) -> tuple[Tensor, Tensor]:
    if not len(eligible):
        return x, y
    added_x, added_y = attack.poison_train(x[eligible], y[eligible], ctx)
    parts_x, parts_y = [x, added_x], [y, added_y]
    wanted = attack.decoy_count(len(eligible), len(eligible))
    if wanted and len(x) > 1:
        decoys = eligible[torch.randperm(len(eligible), generator=ctx.rng)[:wanted]].sort().values
        parts_x.append(attack.decoys(x[decoys], x[_others(decoys, len(x), ctx)], ctx))
        parts_y.append(y[decoys])
    return torch.cat(parts_x), torch.cat(parts_y)


def _others(rows: Tensor, count: int, ctx: PoisonContext) -> Tensor:
    """For each row another one of ``count``, never itself."""
    return (rows + 1 + torch.randint(0, count - 1, rows.shape, generator=ctx.rng)) % count
