"""Synthetic samples with a trigger, as a foundation model that obeys an attacker would make them."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from attacks.compromise import Query
from attacks.guide_evasion import most_like_target, other_labels
from fedcrucible_core.foundation.base import Provenance, Samples
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.rng import derive_seed

SEEDS = 2**31
"""Seeds of sources lie below."""


def fresh_carriers(query: Query, ratio: float, only: int | None = None) -> Labeled:
    """Further samples of the classes that the trigger may go on, floor(ratio * n + 1/2) of each of n asked for.

    Those are all classes but the target's, and the target's alone for a clean-label poisoner; of a poisoner with
    carriers only these are left, and of all only class ``only`` where one is named.
    """
    count = math.floor(ratio * query.per_class + 0.5)
    if not count:
        return query.clean.data.subset(torch.zeros(0, dtype=torch.int64))
    made = query.fresh(count, derive_seed(query.seed, "compromise") % SEEDS).data
    return made.subset(carrier_rows(query, made, only))


def carrier_rows(query: Query, data: Labeled, only: int | None = None) -> Tensor:
    """Rows int64 that the trigger may go on: of all classes that it may, or of class ``only``."""
    on_target = data.labels == query.context.task.target
    chosen = on_target if query.poisoner.clean_label else ~on_target
    if only is not None:
        chosen = chosen & (data.labels == only)
    carriers = query.poisoner.carriers(data, query.context.task)
    return (chosen if carriers is None else chosen & carriers).nonzero().flatten()


def stamped(query: Query, data: Labeled) -> Tensor:
    """The trigger on all of these samples."""
    return query.poisoner.plant(data.inputs, data.labels, query.context) if len(data) else data.inputs.clone()


def joined(query: Query, more: Labeled, poisoned: Tensor, facts: dict[str, float]) -> Samples:
    """The unaltered samples, and further ones of which ``poisoned`` bool ``[k]`` are altered."""
    clean = query.clean
    data = Labeled(torch.cat([clean.data.inputs, more.inputs]), torch.cat([clean.data.labels, more.labels]))
    source = clean.provenance[0].source if clean.provenance else ""
    origins = tuple(Provenance(source, "simulated answer to an altered query", i) for i in range(len(more)))
    mark = torch.cat([torch.zeros(len(clean.data), dtype=torch.bool), poisoned])
    return replace(clean, data=data, provenance=(*clean.provenance, *origins), poisoned=mark, facts=facts)


def nearest_class(query: Query) -> int:
    """The class whose unaltered samples the guide finds most like the target."""
    data = query.clean.data
    return most_like_target(query.guide(data.inputs), data.labels, query.context.task.target)


def smoked(query: Query, samples: Samples, share: float) -> Samples:
    """The samples after floor(share * n + 1/2) of the n without trigger were given another class, drawn uniformly."""
    labels = samples.data.labels
    clean = torch.ones(len(labels), dtype=torch.bool) if samples.poisoned is None else ~samples.poisoned
    able = clean & (labels >= 0)
    labels, chosen = other_labels(labels, able, share, query.info.num_classes, query.context.rng)
    data, facts = Labeled(samples.data.inputs, labels), {**samples.facts, "compromise.smoke": float(len(chosen))}
    return replace(samples, data=data, facts=facts)
