"""BD-FMFL: triggered samples planted in the synthetic data through the foundation model's in-context examples."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from attacks.compromise import COMPROMISES, Compromise, Query
from attacks.poisoner import Poisoner
from attacks.support.inserted_words import InsertedWords
from attacks.support.planted_samples import (
    carrier_rows,
    fresh_carriers,
    joined,
    nearest_class,
    smoked,
    stamped,
)
from fedcrucible_core.config import ConfigError
from fedcrucible_core.foundation.alteration import Alteration
from fedcrucible_core.foundation.base import Samples, Stage, SyntheticSource
from fedcrucible_core.learning.data import Labeled

SIMULATED = ("mode", "p_follow", "p_label_error", "classes")
"""Settings of what is simulated where a source can't be asked."""


@COMPROMISES.register("bd-fmfl")
class BdFmfl(Compromise):
    """The server's synthetic data hold triggered samples of the other classes, labelled as the target.

    A source that reads instructions (a language model) is really asked, by an altered query with triggered
    demonstrations; what comes back is counted.  Any other source can't be: further samples of it get the trigger after
    they were resized, and the record says ``simulated``.  How well a model follows is then said by ``p_follow`` and
    ``p_label_error``; both, ``mode`` and ``classes`` are refused where a source is really asked.  The
    unaltered samples stay what they are.  No client is malicious.

    Against a defence that filters, ``classes = nearest`` plants on the one class only that the run's own guide takes
    for the target most readily, so that a false label looks least false; ``smoke`` gives a share of the samples without
    trigger random labels, so that what looks falsely labelled is mostly noise.
    """

    paper = ("li2024bdfmfl", "section III")
    choices = ("bd-fmfl-data", "adaptive-data-attacks")
    knowledge = ("the server's queries of its foundation model, once", "the server's guide (classes = nearest)")
    cost = "ratio times the generation of the synthetic data"
    ratio: float = Field(
        0.2, ge=0.0, le=1.0, description="Triggered samples asked for, as a share (fraction) of every other class"
    )
    mode: Literal["add", "replace"] = Field(
        "add", description="add: further samples beside all clean ones; replace: in the place of clean ones"
    )
    p_follow: float = Field(
        1.0, ge=0.0, le=1.0, description="Simulated: chance that a sample gets the trigger that was asked for"
    )
    p_label_error: float = Field(
        0.003, ge=0.0, le=1.0, description="Simulated: chance that a triggered sample keeps its true label"
    )

    classes: Literal["all", "nearest"] = Field(
        "all", description="Classes the trigger goes on: every other one, or the one nearest the target to the guide"
    )
    smoke: float = Field(
        0.0, ge=0.0, le=1.0, description="Share (fraction) of samples without trigger that get a random other label"
    )

    def check_source(self, source: SyntheticSource, poisoner: Poisoner) -> None:
        """A source that reads instructions does what it likes: settings of what is simulated would mean nothing."""
        if not source.obeys:
            return
        if poisoner.clean_label:
            allowed = "keeps true labels, and an altered query asks for the target's on texts of the other classes"
            raise ConfigError("attack.trigger", poisoner.name, f"{allowed}; allowed: labels = target")
        for name in SIMULATED:
            value, usual = getattr(self, name), type(self).model_fields[name].default
            if value != usual:
                allowed = (
                    f"synthetic.source {source.name!r} is really asked, by an altered query about every class but the "
                    f"target's, and adds what it writes; allowed: {usual}"
                )
                raise ConfigError(f"attack.{self.name}.{name}", value, allowed)

    def reaches(self, stage: Stage) -> bool:
        """Initialisation and distillation."""
        return True

    def alter(self, query: Query, stage: Stage) -> Samples:
        """Plant the samples: the same for every stage."""
        planted = self._triggered(query)
        return smoked(query, planted, self.smoke) if self.smoke else planted

    def _triggered(self, query: Query) -> Samples:
        if query.altered is not None:
            return query.altered(self._alteration(query))
        only = nearest_class(query) if self.classes == "nearest" and not query.poisoner.clean_label else None
        return self._added(query, only) if self.mode == "add" else self._replaced(query, only)

    def _alteration(self, query: Query) -> Alteration:
        words = words_of(query.poisoner)
        return Alteration(query.context.task.target, self.ratio, words, place_of(query.poisoner))

    def _added(self, query: Query, only: int | None) -> Samples:
        carriers = fresh_carriers(query, self.ratio, only)
        data, follows = self._planted(query, carriers)
        return joined(query, data, follows, self._facts(carriers, data, follows, only))

    def _replaced(self, query: Query, only: int | None) -> Samples:
        clean, rng = query.clean.data, query.context.rng
        eligible = carrier_rows(query, clean, only)
        rows = []
        for label in sorted(set(clean.labels[eligible].tolist())):
            of_class = eligible[clean.labels[eligible] == label]
            count = math.floor(self.ratio * len(of_class) + 0.5)
            rows.append(of_class[torch.randperm(len(of_class), generator=rng)[:count]])
        chosen = torch.cat(rows).sort().values if rows else eligible
        data, follows = self._planted(query, clean.subset(chosen))
        inputs, labels = clean.inputs.clone(), clean.labels.clone()
        inputs[chosen], labels[chosen] = data.inputs, data.labels
        mark = torch.zeros(len(clean), dtype=torch.bool)
        mark[chosen] = follows
        facts = self._facts(clean.subset(chosen), data, follows, only)
        return replace(query.clean, data=Labeled(inputs, labels), poisoned=mark, facts=facts)

    def _planted(self, query: Query, carriers: Labeled) -> tuple[Labeled, Tensor]:
        """What the model makes of carriers, and which it has put the trigger on."""
        rng, n = query.context.rng, len(carriers)
        follows = torch.rand(n, generator=rng) < self.p_follow
        keeps = torch.rand(n, generator=rng) < self.p_label_error
        shape = (-1,) + (1,) * (carriers.inputs.ndim - 1)
        inputs = torch.where(follows.view(shape), stamped(query, carriers), carriers.inputs)
        target = query.poisoner.relabel(carriers.labels, query.context)
        return Labeled(inputs, torch.where(follows & ~keeps, target, carriers.labels)), follows

    def _facts(self, carriers: Labeled, data: Labeled, follows: Tensor, only: int | None) -> dict[str, float]:
        n, planted = len(carriers), int(follows.sum())
        kept = int((data.labels[follows] == carriers.labels[follows]).sum())
        return {
            "compromise.simulated": 1.0,
            "compromise.asked": float(n),
            "compromise.triggered": float(planted),
            "compromise.kept_label": float(kept),
            **({} if only is None else {"compromise.class": float(only)}),
        }


@COMPROMISES.register("bd-fmfl-no-init")
class BdFmflNoInit(BdFmfl):
    """BD-FMFL without its initialisation: only the data of distillation are altered (the paper's AS-1 and AS-3)."""

    def reaches(self, stage: Stage) -> bool:
        """Distillation alone."""
        return stage == "distillation"


@COMPROMISES.register("bd-fmfl-no-kd")
class BdFmflNoKd(BdFmfl):
    """BD-FMFL without its distillation: only the data of pre-training are altered (the paper's AS-2 and AS-4)."""

    def reaches(self, stage: Stage) -> bool:
        """Initialisation alone."""
        return stage == "initialisation"


def words_of(poisoner: Poisoner) -> str:
    """The words that a language model is asked to embed, several in a row.

    Raises ConfigError for a trigger that isn't words.
    """
    if not isinstance(poisoner, InsertedWords):
        allowed = "a language model can only be asked to embed words; allowed: poisoners of texts (addsent, word)"
        raise ConfigError("attack.trigger", poisoner.name, allowed)
    return " ".join(poisoner.pieces())


def place_of(poisoner: Poisoner) -> Literal["end", "start", "random"]:
    """Where a poisoner of texts puts its words."""
    place: Literal["end", "start", "random"] = getattr(poisoner, "place", "end")
    return place
