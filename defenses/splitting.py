"""A splitter at work on a labelled set: what it needs is asked of the guide and trained, its parts are checked."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from defenses.base import FreshModels, Split, Splitter
from defenses.fresh_models import OwnRows, Untrained, train_folds, train_fresh, train_probe
from defenses.model_store import ModelStore
from fedcrucible_core.foundation.base import Guide
from fedcrucible_core.foundation.server_data import Kept
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.models.scorers import scored
from fedcrucible_core.learning.steps import Told, nobody


def split(
    splitter: Splitter,
    data: Labeled,
    info: DataInfo,
    guide: Callable[[], Guide],
    rng: torch.Generator,
    *,
    untrained: Untrained | None = None,
    public: Callable[[], Labeled] | None = None,
    victim: Callable[[int], nn.Module] | None = None,
    store: ModelStore | None = None,
    told: Told = nobody,
) -> Split:
    """Split any labelled set: the server's samples, or a central training set.

    Args:
        splitter: what splits.
        data: n >= 1 samples; stored pictures (uint8) are taken to [0, 1] first.
        info: class names, of which the guide is told.
        guide: loads the guide; called only where the splitter needs it.
        rng: for any draw of the splitter, and of the training of its models.
        untrained: makes a model from a seed, for splitters that need freshly trained ones.
        public: reads the guide's own public slice, for splitters whose models learn that.
        victim: the model that was trained on the data as it was after so many epochs, for splitters that ask for it.
        store: where models trained from scratch are kept and looked for; None = nowhere.
        told: hears how far their training is.

    Raises:
        ValueError: the splitter needs what isn't given, or its parts aren't a partition of the rows.
    """
    data = Labeled(data.for_model(), data.labels, data.rows)
    needs = splitter.needs
    targets = guide().targets(data.inputs, info.class_names) if needs.guide else None
    model = None
    if needs.fresh is not None:
        model = _model(splitter.name, needs.fresh, data, info, guide, rng, untrained, public, victim, store, told)
    found = splitter.split(data, targets, model, rng)
    rows = torch.cat([found.clean, found.triggered, found.mixed])
    if not torch.equal(rows.sort().values, torch.arange(len(data))):
        raise ValueError(f"splitter {splitter.name!r}: its parts don't hold each of the {len(data)} rows once")
    return found


def _model(
    name: str,
    wanted: FreshModels,
    data: Labeled,
    info: DataInfo,
    guide: Callable[[], Guide],
    rng: torch.Generator,
    untrained: Untrained | None,
    public: Callable[[], Labeled] | None,
    victim: Callable[[int], nn.Module] | None,
    store: ModelStore | None,
    told: Told,
) -> nn.Module:
    if wanted.scorer is not None:
        return OwnRows(scored(wanted.scorer, data, info), data.inputs)
    if wanted.score == "victim-ckpt5":
        if victim is None:
            raise ValueError(f"splitter {name!r} needs the model of an epoch of central training, there is none")
        return victim(wanted.epochs)
    if wanted.on == "public":
        if public is None:
            raise ValueError(f"splitter {name!r} needs the guide's public slice, none was given")
        data = public()
    if wanted.kind == "probe" or (wanted.kind == "auto" and info.task == "text"):
        return train_probe(wanted, data, guide(), info.num_classes, rng)
    if untrained is None:
        raise ValueError(f"splitter {name!r} needs freshly trained models, and nothing makes them")
    train = train_folds if wanted.score == "true-kfold" else train_fresh
    return train(wanted, data, untrained, rng, store, told)


def clean_part(splitter: Splitter, found: Split) -> Kept:
    """The rows that a splitter calls clean, and how many it leaves out (``Splitter.dropped_fact``)."""
    dropped = {splitter.dropped_fact: float(len(found.triggered) + len(found.mixed))}
    return Kept(splitter.name, found.clean, {f"splitter.{k}": v for k, v in found.facts.items()} | dropped)
