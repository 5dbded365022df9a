"""How a labelled set is poisoned: which samples, how many, in place or in addition."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from attacks.guide_evasion import other_labels
from fedcrucible_core.config.sections import PoisonSection
from fedcrucible_core.learning.data import Labeled

if TYPE_CHECKING:
    from attacks.poisoner import PoisonContext, Poisoner

NO_ROW = -1
"""The row (``Labeled.rows``) of a sample that an attack adds: it is none of the published split's."""


@dataclass(frozen=True)
class PoisonedSet:
    """A training set after poisoning, with the truth about it."""

    data: Labeled
    """Inputs ``[n', ...]`` as a model takes them and labels int64 ``[n']``."""
    poisoned: Tensor
    """bool ``[n']``: samples that carry the attack (stamped, relabelled or added)."""
    decoys: Tensor
    """bool ``[n']``: samples that only look poisoned and keep their true labels."""
    smoked: Tensor
    """bool ``[n']``: samples that carry no attack and were given another label at random."""


def eligible_rows(own: Labeled, poisoner: Poisoner, ctx: PoisonContext) -> Tensor:
    """Ascending rows (int64) of ``own`` that may be poisoned; none where the poisoner only adds.

    Clean-label attacks: those of the target class.  Untargeted ones: all.  Others: those of every other class, or all
    where ``poison.scope`` is ``all``.  Of these only the poisoner's ``carriers``, where it has some, and those of the
    classes that the task is confined to.
    """
    y = own.labels
    if not poisoner.poisons_own:
        return torch.zeros(0, dtype=torch.int64)
    if poisoner.clean_label:
        chosen = y == ctx.task.target
    elif poisoner.targeted and ctx.section.scope == "non-target":
        chosen = y != ctx.task.target
    else:
        chosen = torch.ones_like(y, dtype=torch.bool)
    chosen = chosen & ctx.task.concerns(y)
    carriers = poisoner.carriers(own, ctx.task)
    return (chosen if carriers is None else chosen & carriers).nonzero().flatten()


def poisoned_set(own: Labeled, poisoner: Poisoner, ctx: PoisonContext) -> PoisonedSet:
    """The training set that ``own`` becomes, as ``ctx.section`` says.

    ``replace`` overwrites floor(ratio * E + 1/2) of the E eligible samples, the first in the poisoner's ``order``
    (drawn without replacement unless it says otherwise); decoys, which keep their labels, overwrite others of them (or
    of the poisoner's ``decoy_carriers``) as far as there are any left.  With ``share_of = all`` E counts all samples
    there, and at most the eligible ones are overwritten.
    ``append-all`` keeps every sample and appends a poisoned copy of each eligible one, and decoys made of some of them;
    ``ratio`` has no meaning there (the 100% setting of layer-poisoning code: docs/choices.md#poison-mode).
    What the poisoner adds by itself comes last in either mode.  Then floor(smoke * n + 1/2) of the n samples that are
    neither poisoned nor decoys get another label, drawn uniformly: nothing that was drawn before depends on it.
    """
    clean = own.for_model() if own.inputs.dtype == torch.uint8 else own.inputs.clone()
    nothing = torch.zeros(len(own), dtype=torch.bool)
    start = PoisonedSet(Labeled(clean, own.labels.clone(), own.rows), nothing, nothing.clone(), nothing.clone())
    eligible = eligible_rows(own, poisoner, ctx)
    change = _append_all if ctx.section.mode == "append-all" else _replace
    result = change(start, eligible, poisoner, ctx) if len(eligible) else start
    added = poisoner.additions(own, ctx)
    result = result if added is None else _joined(result, *added, poisoned=True)
    return _smoked(result, ctx) if ctx.section.smoke else result


@dataclass(frozen=True, slots=True)  # there may be many
class PoisonCount:
    """Poisonable and poisoned samples of one attacker."""

    eligible: int
    """Own samples that may be poisoned and that poisoning would change."""
    poisoned: int
    """Poisoned ones among them, or their copies; an upper bound where the draw decides."""
    added: int
    """Samples that the attack adds to the set (additions)."""
    short: int = 0
    """Samples that were asked for beyond those that may be poisoned."""
    smoked: int = 0
    """Samples without the attack that get another label; an upper bound where there are decoys."""

    @property
    def total(self) -> int:
        """Poisoned samples in the attacker's set."""
        return self.poisoned + self.added

    @property
    def material(self) -> bool:
        """Whether there is anything that could be poisoned, at whatever ratio."""
        return self.eligible + self.added > 0


def poison_count(own: Labeled, poisoner: Poisoner, ctx: PoisonContext) -> PoisonCount:
    """How many samples ``poisoned_set`` poisons for the same arguments, at most.

    A poisoner without trigger changes labels alone: a sample that has the label already stays what it is.
    """
    labels = own.labels[eligible_rows(own, poisoner, ctx)]
    eligible = len(labels) if poisoner.has_trigger else int((poisoner.relabel(labels, ctx) != labels).sum())
    asked = len(labels) if ctx.section.mode == "append-all" else requested(ctx.section, len(labels), len(own))
    added = poisoner.additions(own, ctx)
    short = max(0, asked - len(labels))
    clean = len(own) - (0 if ctx.section.mode == "append-all" else min(asked, len(labels)))
    smoked = math.floor(ctx.section.smoke * clean + 0.5)
    return PoisonCount(eligible, min(asked, eligible), 0 if added is None else len(added[1]), short, smoked)


def requested(section: PoisonSection, eligible: int, own: int) -> int:
    """Poisoned samples that ``section`` asks for; of a share of all of them there may be more than may be poisoned."""
    return math.floor(section.ratio * (eligible if section.share_of == "eligible" else own) + 0.5)


def _replace(start: PoisonedSet, eligible: Tensor, poisoner: Poisoner, ctx: PoisonContext) -> PoisonedSet:
    count = min(requested(ctx.section, len(eligible), len(start.data)), len(eligible))
    if not count:
        return start
    x, y = start.data.inputs, start.data.labels
    order = poisoner.order(start.data, eligible, ctx)
    chosen, rest = order[:count].sort().values, order[count:]
    stamped, labels = poisoner.plant(x[chosen], y[chosen], ctx), poisoner.relabel(y[chosen], ctx)
    carriers = poisoner.decoy_carriers(start.data, ctx)
    if carriers is not None:
        rest = _drawn(carriers.index_fill(0, chosen, False), ctx)
    decoys = rest[: poisoner.decoy_count(count, len(eligible))].sort().values
    if len(decoys):  # made before anything is overwritten: they take other samples clean
        x[decoys] = poisoner.decoys(x[decoys], x[_others(decoys, len(x), ctx)], ctx)
    x[chosen], y[chosen] = stamped, labels
    poisoned, only_looks = (m.index_fill(0, r, True) for m, r in ((start.poisoned, chosen), (start.decoys, decoys)))
    return replace(start, poisoned=poisoned, decoys=only_looks)


def _append_all(start: PoisonedSet, eligible: Tensor, poisoner: Poisoner, ctx: PoisonContext) -> PoisonedSet:
    x, y = start.data.inputs, start.data.labels
    stamped = poisoner.plant(x[eligible], y[eligible], ctx)
    result = _joined(start, stamped, poisoner.relabel(y[eligible], ctx), poisoned=True)
    wanted = poisoner.decoy_count(len(eligible), len(eligible))
    if wanted and len(x) > 1:
        carriers = poisoner.decoy_carriers(start.data, ctx)
        able = torch.zeros(len(x), dtype=torch.bool).index_fill(0, eligible, True) if carriers is None else carriers
        rows = _drawn(able, ctx)[:wanted].sort().values
        decoys = poisoner.decoys(x[rows], x[_others(rows, len(x), ctx)], ctx)
        result = _joined(result, decoys, y[rows], poisoned=False)
    return result


def _drawn(able: Tensor, ctx: PoisonContext) -> Tensor:
    """Rows int64 that ``able`` bool ``[n]`` names, in an order that the generator draws."""
    rows = able.nonzero().flatten()
    return rows[torch.randperm(len(rows), generator=ctx.rng)]


def _joined(first: PoisonedSet, x: Tensor, y: Tensor, *, poisoned: bool) -> PoisonedSet:
    """``first`` and further samples, all of them poisoned or all of them decoys."""
    mark, rows = torch.full((len(y),), poisoned), first.data.rows
    if rows is not None:
        rows = torch.cat([rows, torch.full((len(y),), NO_ROW)])
    return PoisonedSet(
        Labeled(torch.cat([first.data.inputs, x]), torch.cat([first.data.labels, y]), rows),
        torch.cat([first.poisoned, mark]),
        torch.cat([first.decoys, ~mark]),
        torch.cat([first.smoked, torch.zeros_like(mark)]),
    )


def _smoked(made: PoisonedSet, ctx: PoisonContext) -> PoisonedSet:
    able = ~(made.poisoned | made.decoys)
    labels, chosen = other_labels(made.data.labels, able, ctx.section.smoke, ctx.task.info.num_classes, ctx.rng)
    data = Labeled(made.data.inputs, labels, made.data.rows)
    return replace(made, data=data, smoked=made.smoked.index_fill(0, chosen, True))


def _others(rows: Tensor, count: int, ctx: PoisonContext) -> Tensor:
    """For each row another one of ``count``, never itself."""
    return (rows + 1 + torch.randint(0, count - 1, rows.shape, generator=ctx.rng)) % count
