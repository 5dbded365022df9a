"""Upper bounds on activations, learned on the server's data: a rival, after a published defence of this kind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from defenses.base import PURIFIERS, Needs, Purified, State
from defenses.support.server_training import FORWARD_BATCH, ServerSet, ServerTraining
from fedcrucible_core.foundation.base import GuideTargets, ServerData
from fedcrucible_core.learning.bounds import channel_axis, rectified, set_bounds
from fedcrucible_core.learning.evaluation import classes_of, logits
from fedcrucible_core.learning.models.base import SplitModel
from fedcrucible_core.learning.optimisers import OptimiserName

PROBE = 2
"""Inputs that show where activations are."""


@PURIFIERS.register("activation-bounds")
class ActivationBounds(ServerTraining):
    """An approximation of a published defence: activations of the fused model are kept below bounds, a <- min(a, z_c).

    One bound z_c >= 0 for every channel c of every ReLU or GELU whose output a module hands on: channels of pictures,
    features of texts (there the GELU of each block's feed-forward part, padding included).

    1. Each z_c begins at the ``quantile`` of its channel over the server's samples and all positions.
    2. z alone is trained, ``epochs`` passes: CE(bounded, y) + KL(unbounded || bounded) + mu * mean(z), over samples
       that aren't suspicious: those whose label the guide would give too (``trusted = guide``), or all of them.
    Parameters stay as they are, bit for bit, and so do batch-norm statistics unless ``bn_mode`` is train.

    The bounds are part of the model that the server measures, sends out to be measured, keeps and saves
    (``bounds.<module>`` in model.safetensors).  What clients train on, the rule aggregates and students learn from is
    the model without them, and every round begins anew.

    A model in which nothing can be bounded is left as it is (fact ``bounds`` = 0).

    Of the published defence only the abstract was at hand: the objective is ours, and its numbers aren't its authors'.
    """

    paper = (("bi2024bounds", "the idea, by its abstract"),)
    choices = ("activation-bounds", "server-training")
    cost = "epochs passes over the server's samples a round"
    traps = ("no parameter changes: whoever reads parameters alone sees no defence", "clients train without the bounds")
    lr: float = Field(0.01, gt=0.0, description="Learning rate of the bounds")
    optimiser: OptimiserName = Field("adam", description="Optimiser of the bounds: sgd, adam, adamw")
    weight_decay: float = Field(0.0, ge=0.0, description="L2 weight decay of the bounds; mu pulls them down already")
    grad_clip: float = Field(0.0, ge=0.0, description="Largest gradient norm; 0 = no clipping")
    use_augmented: bool = Field(False, description="Train on augmented copies too; false = generated originals only")
    epochs: int = Field(5, ge=0, description="Epochs over the server's set each round; 0 = off")
    quantile: float = Field(0.999, gt=0.0, le=1.0, description="Where each bound begins: quantile of its activations")
    mu: float = Field(0.1, ge=0.0, description="Weight of the mean bound in the loss")
    trusted: Literal["guide", "all"] = Field(
        "guide", description="Samples the bounds are trained on: those whose label is the guide's answer, or all"
    )

    @property
    def needs(self) -> Needs:
        """The guide, where it says which samples are trusted."""
        return Needs(guide=self.trusted == "guide")

    def purify(
        self, model: SplitModel, data: ServerData, guide: GuideTargets | None, rng: torch.Generator, state: State
    ) -> Purified:
        """Put new bounds on ``model``, none where they came out not finite."""
        set_bounds(model, {})
        result = super().purify(model, data, guide, rng, state)
        if result.facts["diverged"]:
            set_bounds(model, {})
        return result

    def run_phases(self, model: SplitModel, server: ServerSet, rng: torch.Generator, state: State) -> Purified:
        """Bound the model. Facts: ``bounds``, ``trusted`` samples, the mean bound before and after, epochs' losses."""
        if self.epochs == 0:
            return Purified()
        places = [place.module for place in rectified(model, server.data.inputs[:PROBE])]
        if not places:
            return Purified({"bounds": 0.0})
        bounds = [z.requires_grad_() for z in activation_quantiles(model, places, server.data.inputs, self.quantile)]
        facts = {"bounds": float(sum(map(len, bounds))), "mean_bound_first": _mean(bounds)}
        rows = self._trusted(server)
        facts["trusted"] = float(len(rows))
        plain = server.logits(model)
        set_bounds(model, dict(zip(places, bounds, strict=True)))
        if len(rows):
            losses = self._train(model, bounds, server, rows, F.log_softmax(plain, 1), rng)
            facts |= {"loss_first": losses[0], "loss_last": losses[-1]}
        set_bounds(model, {place: _kept(z) for place, z in zip(places, bounds, strict=True)})
        return Purified({**facts, "mean_bound_last": _mean(bounds)})

    def _train(
        self,
        model: SplitModel,
        bounds: list[Tensor],
        server: ServerSet,
        rows: Tensor,
        unbounded: Tensor,
        rng: torch.Generator,
    ) -> list[float]:
        def loss(batch: Tensor) -> Tensor:
            with torch.no_grad():
                for z in bounds:
                    z.clamp_(min=0.0)  # what a step took below
            chosen = rows[batch]
            scores = F.log_softmax(model(server.data.inputs[chosen]), 1)
            cross = F.nll_loss(scores, server.data.labels[chosen])
            divergence = F.kl_div(scores, unbounded[chosen], reduction="batchmean", log_target=True)
            return cross + divergence + self.mu * torch.cat(bounds).mean()

        return self.minimise(model, bounds, loss, len(rows), self.epochs, rng)

    def _trusted(self, server: ServerSet) -> Tensor:
        """Rows of the samples that have a label and aren't suspicious."""
        labels = server.data.labels
        chosen = labels >= 0
        if self.trusted == "guide":
            chosen &= classes_of(server.require_guide().logits) == labels
        return chosen.nonzero().flatten()


def activation_quantiles(
    model: SplitModel, modules: Sequence[str], inputs: Tensor, quantile: float, batch_size: int = FORWARD_BATCH
) -> list[Tensor]:
    """Quantiles float32 ``[C]`` >= 0 of the activations of each module's channels, over all inputs and positions.

    The quantile of N values is the ceil(quantile * N)-th smallest; only the largest ones are kept in memory.
    """
    tops: dict[str, Tensor] = {}

    def note(module: str, output: Tensor) -> None:
        axis = channel_axis(output)
        values = output.detach().clamp(min=0.0).movedim(axis, 0).flatten(1)
        total = len(inputs) * (values.shape[1] // len(output))
        kept = total - max(1, math.ceil(quantile * total - 1e-9)) + 1
        seen = values if module not in tops else torch.cat([tops[module], values], 1)
        tops[module] = seen.topk(min(kept, seen.shape[1]), dim=1).values

    hooks = [
        model.get_submodule(name).register_forward_hook(lambda _m, _i, output, name=name: note(name, output))
        for name in modules
    ]
    try:
        logits(model, inputs, batch_size, inputs.device)
    finally:
        for hook in hooks:
            hook.remove()
    return [tops[name][:, -1].float().clone() for name in modules]


def _kept(z: Tensor) -> Tensor:
    return z.detach().clamp(min=0.0)


def _mean(bounds: Sequence[Tensor]) -> float:
    return float(torch.cat([_kept(z) for z in bounds]).double().mean())
