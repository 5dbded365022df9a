"""A splitter at work on a labelled set: the guide is asked where it needs one, and the parts are checked."""

from __future__ import annotations

from collections.abc import Callable

import torch

from defenses.base import Split, Splitter
from fedcrucible_core.foundation.base import Guide
from fedcrucible_core.foundation.server_data import Kept
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.models.base import SplitModel


def split(
    splitter: Splitter,
    data: Labeled,
    info: DataInfo,
    guide: Callable[[], Guide],
    rng: torch.Generator,
    model: SplitModel | None = None,
) -> Split:
    """Split any labelled set: the server's images, or a central training set.

    Args:
        splitter: what splits.
        data: n >= 1 samples; stored pictures (uint8) are taken to [0, 1] first.
        info: class names, of which the guide is told.
        guide: loads the guide; called only where the splitter needs it.
        rng: for any draw of the splitter.
        model: a trained model, for splitters that need one.

    Raises:
        ValueError: the splitter needs a model and there is none, or its parts aren't a partition of the rows.
    """
    if splitter.needs.model and model is None:
        raise ValueError(f"splitter {splitter.name!r} needs a trained model")
    data = Labeled(data.for_model(), data.labels, data.rows)
    targets = guide().targets(data.inputs, info.class_names) if splitter.needs.guide else None
    found = splitter.split(data, targets, model, rng)
    rows = torch.cat([found.clean, found.triggered, found.mixed])
    if not torch.equal(rows.sort().values, torch.arange(len(data))):
        raise ValueError(f"splitter {splitter.name!r}: its parts don't hold each of the {len(data)} rows once")
    return found


def clean_part(
    splitter: Splitter,
    data: Labeled,
    info: DataInfo,
    guide: Callable[[], Guide],
    rng: torch.Generator,
) -> Kept:
    """The rows that the splitter calls clean, and how many it leaves out (``Splitter.dropped_fact``)."""
    found = split(splitter, data, info, guide, rng)
    dropped = {splitter.dropped_fact: float(len(data) - len(found.clean))}
    return Kept(splitter.name, found.clean, {f"splitter.{k}": v for k, v in found.facts.items()} | dropped)
