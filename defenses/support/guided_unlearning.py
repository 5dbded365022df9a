"""The loop of guided unlearning: epochs over a split set, watched by an accuracy that must not fall too far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from defenses.support.unlearning_terms import Members, UnlearningTerms
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.evaluation import predict
from fedcrucible_core.learning.fit import FitSettings, minimise, training_mode
from fedcrucible_core.learning.models.base import SplitModel
from fedcrucible_core.learning.tasks.vision import crop_flip
from fedcrucible_core.learning.weights import Weights

FORWARD_BATCH = 500
FEWEST = 2
"""Members that a batch of members alone must have: batch norm can't be trained on one."""
Accuracy = Callable[[SplitModel], float]
"""Measures a model, in percent."""


@dataclass(frozen=True)
class Unlearned:
    """How the retraining went; the model was changed in place."""

    kept: int
    """The epoch whose weights it has now; 0 = as it was."""
    ran: int
    """Epochs that were run."""
    before_percent: float
    """Accuracy that the watch measured before; NaN where nobody watches."""
    after_percent: float
    skipped: int
    """Batches without any member: no step was taken."""
    forgot: int = 0
    """The epoch with which labels had gone all at once; 0 = none, or nobody looked."""


@dataclass
class Forgetting:
    """Says when labels that a trigger holds together have gone.

    ``log p`` has no gradient where a label is certain, so triggered samples keep theirs for epochs and then lose it all
    at once, in an epoch or two; single hard samples lose theirs one by one.  What is unlearned after that are these.
    """

    remembered: Accuracy
    """Share of the given labels, in percent, that the model still gives."""
    fall: float
    """Points in one epoch that count as all at once."""
    _last: float = float("nan")
    _falling: bool = False

    def begin(self, model: SplitModel) -> None:
        """Look at the model before the first epoch."""
        self._last, self._falling = self.remembered(model), False

    def over(self, model: SplitModel) -> bool:
        """After an epoch: whether the fall has come, and has ended with this epoch."""
        now = self.remembered(model)
        falls, fell = self._last - now >= self.fall, self._falling
        self._last, self._falling = now, fell or falls
        return fell and not falls


@dataclass
class Epoch:
    """One pass over rows of a set."""

    model: SplitModel
    data: Labeled
    members: Members
    terms: UnlearningTerms
    settings: FitSettings
    batches: int
    """Batches at most."""
    bn_on_mixed: bool
    """Rows that are neither clean nor triggered pass through the model too."""
    augments: bool
    """Random crops and flips."""
    skipped: int = 0
    """Batches without any member, so far."""

    def run(self, rows: Tensor, rng: torch.Generator) -> None:
        """Train on ``rows`` (duplicates count), of which those that fit into ``batches`` are used, by chance."""
        most = self.batches * self.settings.batch_size
        if len(rows) > most:
            rows = rows[torch.randperm(len(rows), generator=rng)[:most].to(rows.device)]

        def loss(places: Tensor) -> Tensor | None:
            return self._loss(rows[places], rng)

        mode = partial(training_mode, self.model)
        minimise(self.model.parameters(), loss, len(rows), self.settings, rng, mode=mode)

    def _loss(self, chosen: Tensor, rng: torch.Generator) -> Tensor | None:
        if not self.bn_on_mixed:
            chosen = chosen[self.members.clean[chosen] | self.members.triggered[chosen]]
            if len(chosen) < FEWEST:
                self.skipped += 1
                return None
        x = self.data.inputs[chosen]
        logits = self.model(crop_flip(x, rng) if self.augments else x)
        value = self.terms.loss(logits, self.data.labels[chosen], self.members, chosen)
        self.skipped += value is None
        return value


def watched(
    model: SplitModel,
    epochs: int,
    run: Callable[[], None],
    watch: Accuracy | None,
    tolerance: float,
    epoch: Epoch,
    forgetting: Forgetting | None = None,
) -> Unlearned:
    """Run epochs until ``watch`` falls ``tolerance`` points below its best, which begins at the model's own.

    With ``forgetting`` also until that is over: the model is then kept as it is.
    """
    before = Weights.of(model)
    if forgetting is not None:
        forgetting.begin(model)
    start = best = now = float("nan") if watch is None else watch(model)
    kept, weights, at_kept, number = 0, before, start, 0
    for number in range(1, epochs + 1):
        run()
        if watch is not None:
            now = watch(model)
            if best - now >= tolerance:
                weights.load_into(model)
                return Unlearned(kept, number, start, at_kept, epoch.skipped)
            best = max(best, now)
            if kept == 0 or now >= at_kept:
                kept, weights, at_kept = number, Weights.of(model), now
        if forgetting is not None and forgetting.over(model):
            return Unlearned(number, number, start, now, epoch.skipped, number)
    return Unlearned(number, number, start, now, epoch.skipped)


def accuracy_percent(model: SplitModel, data: Labeled) -> float:
    """Accuracy in percent, in eval mode."""
    right = predict(model.eval(), data.inputs, FORWARD_BATCH, data.inputs.device) == data.labels.cpu()
    return 100.0 * float(right.double().mean())
