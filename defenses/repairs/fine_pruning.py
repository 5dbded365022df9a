"""Fine-pruning: units that clean data leave inactive are cut off, then the rest is fine-tuned."""

from __future__ import annotations

import copy

from pydantic import Field
from torch import Tensor

from defenses.base import REPAIRS, RepairContext
from defenses.support.clean_repair import CleanRepair
from defenses.support.fitting import FitOptions, accuracy_percent, fit, view_of
from fedcrucible_core.learning.channels import Activation, LastUnits, mean_activations, silence
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.fit import FitHook
from fedcrucible_core.learning.models.base import SplitModel
from fedcrucible_core.learning.schedules import cosine

FORWARD_BATCH = 500


@REPAIRS.register("fine-pruning")
class FinePruning(CleanRepair):
    """The units that the output layer reads are pruned in ascending order of their mean activation on clean samples.

    1. ``step`` (fraction) of the units are cut off at a time, by zeroing what the output layer takes from them, for as
       long as the accuracy on held-out clean samples has fallen by less than ``max_drop`` percent of what it was.
    2. The rest is fine-tuned on the clean samples; what was cut off stays off.
    """

    paper = (("liu2018finepruning", "section 4; units of the last hidden layer"),)
    choices = ("fine-pruning-criterion", "clean-set-repairs")
    cost = "a pass per step over the held-out samples, then epochs passes over the clean ones"
    traps = (
        "the first k units are cut off, not the first k - 1",
        "accuracies are those of a copy: the model that is kept is not the one that went too far",
        "no test sample decides",
    )
    step: float = Field(0.01, gt=0.0, le=1.0, description="Units cut off at a time (fraction), at least one")
    max_drop: float = Field(
        10.0, ge=0.0, le=100.0, description="Largest relative loss of held-out accuracy (percent of it); 0 = no pruning"
    )
    activation: Activation = Field("relu", description="Mean of the positive part (relu) or absolute value (abs)")
    epochs: int = Field(10, ge=0, description="Epochs of fine-tuning, cosine learning rate; public code takes 100")
    lr: float = Field(0.01, gt=0.0, description="Learning rate of fine-tuning (SGD, momentum .9)")
    weight_decay: float = Field(5e-4, ge=0.0, description="L2 weight decay")
    batch_size: int = Field(64, ge=1, description="Samples per batch")

    def repair(self, model: SplitModel, context: RepairContext) -> dict[str, float]:
        """Prune and fine-tune in place. Facts: units ``pruned``, held-out accuracies in percent."""
        trained, held = self.sets(context, context.rng)
        place = LastUnits(model.output, model.head.in_features)
        before = accuracy_percent(model, held)
        order = mean_activations(
            model, place.module, trained.inputs, FORWARD_BATCH, context.device, self.activation, received=True
        ).argsort(stable=True)
        pruned = order[: self._count(model, place, order, held, before)]
        silence(model, place, pruned.tolist())
        after = accuracy_percent(model, held)
        options = FitOptions(self.lr, weight_decay=self.weight_decay, batch_size=self.batch_size)
        view = view_of(context.training.augment, context.rng)
        fit(
            model, trained, options, context.rng, epochs=self.epochs, view=view, schedule=cosine(self.epochs),
            hook=_StaysOff(model, place, pruned),
        )  # fmt: skip
        return {
            "pruned": float(len(pruned)),
            "held_accuracy_before_percent": before,
            "held_accuracy_pruned_percent": after,
            "held_accuracy_after_percent": accuracy_percent(model, held),
        }

    def _count(self, model: SplitModel, place: LastUnits, order: Tensor, held: Labeled, before: float) -> int:
        """How many units can go before the held-out accuracy falls by ``max_drop`` percent of itself; never all."""
        if self.max_drop == 0.0:
            return 0
        tried, kept = copy.deepcopy(model), 0
        for count in pruning_counts(place.channels, self.step):
            silence(tried, place, order[:count].tolist())
            if accuracy_percent(tried, held) <= before * (1.0 - self.max_drop / 100.0):
                break
            kept = count
        return kept


def pruning_counts(channels: int, step: float) -> list[int]:
    """How many of ``channels`` units are off after each step: round(k * step * channels), each once, without 0 and all.

    E.g. of 10 units in steps of a quarter: 2 (2.5 rounds to even), 5, 8.
    """
    counts = (round(k * step * channels) for k in range(1, round(1.0 / step) + 1))
    return sorted({min(count, channels - 1) for count in counts if count > 0} - {0})


class _StaysOff(FitHook):
    """Zeroes what the output layer takes from pruned units, after every step."""

    def __init__(self, model: SplitModel, place: LastUnits, pruned: Tensor) -> None:
        self.model, self.place, self.pruned = model, place, pruned.tolist()

    def after_step(self, *, last_of_epoch: bool) -> None:
        if self.pruned:
            silence(self.model, self.place, self.pruned)
