"""Mode connectivity repair: a point on a curve of low clean loss between the backdoored model and a fine-tuned one."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from defenses.base import REPAIRS, RepairContext
from defenses.kernels.bezier import on_curve, straight_points
from defenses.support.clean_repair import CleanRepair
from defenses.support.fitting import FitOptions, accuracy_percent, fit, view_of
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.fit import BATCH_NORM, batch_bounds, minimise
from fedcrucible_core.learning.models.base import SplitModel
from fedcrucible_core.learning.schedules import cosine
from fedcrucible_core.learning.vector import flatten_parameters, load_parameters, parameter_slots


@REPAIRS.register("mcr")
class ModeConnectivityRepair(CleanRepair):
    """The two ends of a Bezier curve are the model and its fine-tuned copy; the points between are trained.

    1. A copy is fine-tuned on the clean samples for ``end_epochs``.
    2. ``bends`` points stand on the straight line between both.  All but the ends are trained for ``epochs`` on
       E over t in [0, 1] of CE(the curve's model at t), with one t for each batch, in training mode.
    3. The model becomes the curve's at ``t`` (0 = as it was, 1 = the fine-tuned copy), and its batch-norm statistics
       are those of the clean samples.
    """

    paper = (("zhao2020mcr", "section 3 and section 4.1"), ("garipov2018modes", "the curve and its training"))
    choices = ("mcr-ends", "clean-set-repairs")
    cost = "(end_epochs + epochs) passes over the clean samples; bends models in memory"
    traps = ("every point between the ends is a model of its own, however many", "batch norm is measured anew at t")
    bends: int = Field(3, ge=3, le=20, description="Points of the curve, both ends among them")
    t: float = Field(0.1, ge=0.0, le=1.0, description="Where on the curve the repaired model lies")
    end_epochs: int = Field(10, ge=0, description="Epochs of fine-tuning the end; public code: 100")
    end_lr: float = Field(0.01, gt=0.0, description="Its learning rate (SGD, momentum .9, cosine)")
    epochs: int = Field(20, ge=0, description="Epochs of the points between; public code: 100")
    lr: float = Field(0.01, gt=0.0, description="Their learning rate (SGD, momentum .9, cosine); public code: 3e-5")
    weight_decay: float = Field(5e-4, ge=0.0, description="L2 weight decay of both")
    batch_size: int = Field(64, ge=2, description="Samples per batch")

    def repair(self, model: SplitModel, context: RepairContext) -> dict[str, float]:
        """Move along the curve in place. Facts: ``curve_loss`` of the last epoch, held-out accuracies in percent."""
        trained, held = self.sets(context, context.rng)
        before = accuracy_percent(model, held)
        end = copy.deepcopy(model)
        view = view_of(context.training.augment, context.rng)
        options = FitOptions(self.end_lr, weight_decay=self.weight_decay, batch_size=self.batch_size)
        fit(
            end, trained, options, context.rng, epochs=self.end_epochs, view=view,
            schedule=cosine(self.end_epochs),
        )  # fmt: skip
        start, stop = (flatten_parameters(m).to(context.device) for m in (model, end))
        points = straight_points(start, stop, self.bends)
        loss = self.train(model, points, trained, context.rng) if self.epochs else 0.0
        load_parameters(model, on_curve(points, self.t))
        if self.t > 0.0:
            remeasure(model, trained.inputs, self.batch_size)
        model.eval()
        return {
            "curve_loss": loss,
            "held_accuracy_before_percent": before,
            "held_accuracy_end_percent": accuracy_percent(end, held),
            "held_accuracy_after_percent": accuracy_percent(model, held),
        }

    def train(self, model: SplitModel, points: Tensor, data: Labeled, rng: torch.Generator) -> float:
        """Train the points ``[bends, d]`` between the ends in place; the mean loss of the last epoch."""
        slots = parameter_slots(model)
        working = copy.deepcopy(model).train().requires_grad_(False)
        between = points[1:-1].clone().requires_grad_()

        def loss(rows: Tensor) -> Tensor:
            t = float(torch.rand((), generator=rng))
            vector = on_curve(torch.cat([points[:1], between, points[-1:]]), t)
            named = {slot.name: vector[slot.start : slot.stop].view(slot.shape) for slot in slots}
            return F.cross_entropy(torch.func.functional_call(working, named, (data.inputs[rows],)), data.labels[rows])

        options = FitOptions(self.lr, weight_decay=self.weight_decay, batch_size=self.batch_size)
        losses = minimise([between], loss, len(data), options, rng, epochs=self.epochs, schedule=cosine(self.epochs))
        points[1:-1] = between.detach()
        return losses[-1]


@torch.no_grad()
def remeasure(model: nn.Module, inputs: Tensor, batch_size: int) -> None:
    """Set all batch norms' running statistics to their mean over batches of ``inputs``, in place; then eval mode."""
    layers = [m for m in model.modules() if isinstance(m, BATCH_NORM) and m.track_running_stats]
    momenta = [layer.momentum for layer in layers]
    model.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a plain mean over batches
        layer.train()
    for start, stop in batch_bounds(len(inputs), batch_size):
        model(inputs[start:stop])
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    model.eval()
