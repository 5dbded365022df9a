"""Sanitizers: what becomes of the samples of a labelled set that a splitter doesn't call clean."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from defenses.base import Split
from fedcrucible_core.foundation.base import Samples
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.evaluation import NO_CLASS, classes_of

Action = Literal["none", "drop", "relabel", "relabel-confident", "unlearn"]
NEEDS_CLASSES: tuple[Action, ...] = ("relabel", "relabel-confident")
"""Actions that ask what a flagged sample really is."""
Fate = Literal["kept", "dropped", "relabelled", "unlearned"]
FATES: tuple[Fate, ...] = ("kept", "dropped", "relabelled", "unlearned")


@dataclass(frozen=True)
class SyntheticSet:
    """Labelled synthetic data as they are used, and where they came from."""

    data: Labeled
    """m samples; a label of -1 says that a sample has none."""
    unlearned: Tensor
    """bool ``[m]``: samples whose label shall be made unlikely."""
    facts: dict[str, float] = field(default_factory=dict)
    before: Samples | None = None
    """What was there before; for pages."""
    fates: Tensor | None = None
    """int64 ``[n]``: what became of each sample that was there before, a number of ``FATES``."""

    def __len__(self) -> int:
        return len(self.data)

    def to(self, device: torch.device) -> SyntheticSet:
        """The same, samples on ``device``."""
        return SyntheticSet(self.data.to(device), self.unlearned.to(device), self.facts, self.before, self.fates)


def unsanitized(samples: Samples) -> SyntheticSet:
    """All samples as they are."""
    n = len(samples.data)
    return _made(samples, samples.data.labels, torch.zeros(n, dtype=torch.int64), {})


def sanitized(samples: Samples, split: Split, action: Action, guide: Tensor | None = None) -> SyntheticSet:
    """The set after an action on its flagged samples, those that ``split`` calls triggered or leaves undecided.

    - ``drop``: they are left out.
    - ``relabel``: each gets its class of largest logit.
    - ``relabel-confident``: those whose margin (largest less second largest logit) lies above the median of all flagged
      ones are relabelled, the others left out.
    - ``unlearn``: they stay, marked; training makes their labels unlikely.
    Where logits aren't all finite nobody says a class: relabelling leaves such a sample out.

    Args:
        samples: the set, n samples.
        split: its parts.
        action: see above; ``none`` leaves all as it is.
        guide: logits ``[n, C]`` of every sample; those of the split go before.

    Returns:
        The set, with the facts ``flagged``, ``kept``, ``dropped``, ``relabelled``, ``unlearned`` (counts).  Where an
        attacker has been at the samples, ``poisoned`` and ``survivors`` too (poisoned samples that are used under the
        label that they came with), ``caught_percent`` of the poisoned and ``clean_dropped_percent`` of the others (a
        share of nothing is left out).

    Raises:
        ValueError: an action that asks for classes, and nobody who says them.
    """
    n, labels = len(samples.data), samples.data.labels
    flagged = torch.ones(n, dtype=torch.bool)
    flagged[split.clean] = False
    fates = torch.zeros(n, dtype=torch.int64)
    if action == "drop":
        fates[flagged] = FATES.index("dropped")
    elif action == "unlearn":
        fates[flagged] = FATES.index("unlearned")
    elif action in NEEDS_CLASSES:
        logits = split.logits if split.logits is not None else guide
        if logits is None:
            raise ValueError(f"sanitizer {action!r} needs to know what flagged samples are")
        believed = classes_of(logits).cpu()
        sure = _sure(logits.cpu(), flagged & (believed != NO_CLASS), action)
        labels = torch.where(sure, believed, labels)
        fates[sure] = FATES.index("relabelled")
        fates[flagged & ~sure] = FATES.index("dropped")
    facts = {"flagged": float(flagged.sum())} if action != "none" else {}
    return _made(samples, labels, fates, facts, flagged)


def _sure(logits: Tensor, known: Tensor, action: Action) -> Tensor:
    """Rows that are relabelled, bool ``[n]``, of the flagged ones ``known`` that have a class."""
    if action == "relabel" or not bool(known.any()):
        return known
    best = logits.to(torch.float64).topk(2, dim=1).values
    margin = best[:, 0] - best[:, 1]
    return known & (margin > margin[known].median())


def _made(
    samples: Samples, labels: Tensor, fates: Tensor, facts: dict[str, float], flagged: Tensor | None = None
) -> SyntheticSet:
    used = fates != FATES.index("dropped")
    unlearned = fates == FATES.index("unlearned")
    facts = {**facts, **{name: float((fates == i).sum()) for i, name in enumerate(FATES)}} if facts else {}
    if samples.poisoned is not None:
        facts |= _truth(samples.poisoned, samples.data.labels, labels, fates, flagged)
    rows = used.nonzero().flatten()
    data = Labeled(samples.data.inputs[rows], labels[rows])
    return SyntheticSet(data, unlearned[rows], {**samples.facts, **facts}, samples, fates)


def _truth(poisoned: Tensor, given: Tensor, labels: Tensor, fates: Tensor, flagged: Tensor | None) -> dict[str, float]:
    used = fates != FATES.index("dropped")
    survivors = poisoned & used & (fates != FATES.index("unlearned")) & (labels == given)
    facts = {"poisoned": float(poisoned.sum()), "survivors": float(survivors.sum())}
    if flagged is not None:
        facts |= _percent("caught_percent", flagged, poisoned)
        facts |= _percent("clean_dropped_percent", ~used, ~poisoned)
    return facts


def _percent(name: str, chosen: Tensor, of: Tensor) -> dict[str, float]:
    """A share by its name; nothing where there is nothing that it could be of."""
    return {name: 100.0 * float((chosen & of).sum()) / int(of.sum())} if bool(of.any()) else {}
