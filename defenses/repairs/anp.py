"""Adversarial neuron pruning: channels that small changes turn against clean labels are cut off."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from defenses.base import REPAIRS, RepairContext
from defenses.support.batch_norms import BatchNorm, batch_norms, require_batch_norms, zero_channels
from defenses.support.clean_repair import CleanRepair
from defenses.support.fitting import FitOptions, accuracy_percent
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.fit import FitHook, minimise
from fedcrucible_core.learning.models.base import SplitModel

THRESHOLDS = tuple(k / 20 for k in range(1, 19))
"""Masks below which channels are pruned, of which one is chosen: .05, .1, ... .9."""


@REPAIRS.register("anp")
class AdversarialNeuronPruning(CleanRepair):
    """A mask m in [0, 1] of every batch-norm channel is learned under noise that works against it.

    Every step draws noise uniformly in [-eps, eps] for each channel's scale and shift, moves it ``noise_steps`` times
    by eps / noise_steps along the sign of the loss's gradient, and takes a step of SGD on m:

        alpha CE(scale * m) + (1 - alpha) CE(scale * (m + noise), shift * (1 + noise')),  then m is cut to [0, 1].

    The model is in training mode: batch statistics normalise.  Then channels with m below a threshold lose their scale;
    the shift stays.  The threshold is the largest of .05, .1, ... .9 at which the held-out accuracy has lost at most
    ``max_drop`` points.  All else of the model, batch-norm statistics included, stays as it was.
    """

    paper = (("wu2021anp", "section 4, eqs. 5 and 6; algorithm 1"),)
    choices = ("anp-steps", "clean-set-repairs")
    cost = "steps x (noise_steps + 2) passes over a batch of clean samples"
    traps = (
        "momentum .9 of the mask's SGD",
        "noise on the shift too",
        "the scale alone is zeroed, the shift is kept",
        "the threshold is chosen on held-out samples, not on the test set",
    )
    steps: int = Field(500, ge=1, description="Steps of the mask, rounded up to whole epochs; the paper takes 2,000")
    eps: float = Field(0.4, ge=0.0, description="Noise, relative to scale and shift")
    noise_steps: int = Field(1, ge=1, description="Steps of the noise along the sign of its gradient")
    alpha: float = Field(0.2, ge=0.0, le=1.0, description="Weight of the loss without noise")
    lr: float = Field(0.2, gt=0.0, description="Learning rate of the masks")
    momentum: float = Field(0.9, ge=0.0, lt=1.0, description="Momentum of the masks")
    batch_size: int = Field(128, ge=2, description="Samples per batch")
    max_drop: float = Field(3.0, ge=0.0, le=100.0, description="Largest loss of held-out accuracy (points)")

    def check(self, model: SplitModel, info: DataInfo) -> None:
        """Raise ConfigError where the model has no batch norm."""
        require_batch_norms(model, self.name)

    def repair(self, model: SplitModel, context: RepairContext) -> dict[str, float]:
        """Prune in place. Facts: ``pruned`` channels, the ``threshold``, held-out accuracies in percent."""
        require_batch_norms(model, self.name)
        trained, held = self.sets(context, context.rng)
        masks = self.masks(model, trained, context.rng)
        before = accuracy_percent(model, held)
        threshold = self._threshold(model, masks, held, before)
        pruned = zero_channels(batch_norms(model), below(masks, threshold), shift=False)
        return {
            "pruned": float(pruned),
            "threshold": threshold,
            "held_accuracy_before_percent": before,
            "held_accuracy_after_percent": accuracy_percent(model, held),
        }

    def masks(self, model: SplitModel, data: Labeled, rng: torch.Generator) -> dict[str, Tensor]:
        """The learned masks float32 ``[C]`` in [0, 1] by batch-norm layer; ``model`` is left as it was."""
        layers = batch_norms(model)
        masks = {name: torch.ones_like(layer.weight).requires_grad_() for name, layer in layers.items()}
        noisy = Perturbed(model, layers)

        def loss(rows: Tensor) -> Tensor:
            x, y = data.inputs[rows], data.labels[rows]
            noise = self._noise(noisy, masks, x, y, rng)
            plain = F.cross_entropy(noisy(x, masks, None), y)
            return self.alpha * plain + (1.0 - self.alpha) * F.cross_entropy(noisy(x, masks, noise), y)

        options = FitOptions(self.lr, momentum=self.momentum, batch_size=self.batch_size)
        batches = math.ceil(len(data) / self.batch_size)
        epochs = math.ceil(self.steps / batches)
        minimise(masks.values(), loss, len(data), options, rng, epochs=epochs, hook=_Clamped(masks))
        return {name: mask.detach() for name, mask in masks.items()}

    def _noise(
        self, noisy: Perturbed, masks: Mapping[str, Tensor], x: Tensor, y: Tensor, rng: torch.Generator
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Noise of each layer's scale and shift, float32 ``[C]`` each: drawn, then moved against the labels."""
        fixed = {name: mask.detach() for name, mask in masks.items()}
        drawn = [self.eps * (2.0 * torch.rand(2, len(m), generator=rng) - 1.0) for m in fixed.values()]
        values = [noise.to(x.device).requires_grad_() for noise in drawn]
        for _ in range(self.noise_steps if self.eps > 0.0 else 0):
            pairs = {name: (noise[0], noise[1]) for name, noise in zip(fixed, values, strict=True)}
            against = F.cross_entropy(noisy(x, fixed, pairs), y)
            gradients = torch.autograd.grad(against, values)
            rate = self.eps / self.noise_steps
            values = [(n + rate * g.sign()).detach().requires_grad_() for n, g in zip(values, gradients, strict=True)]
        return {name: (n.detach()[0], n.detach()[1]) for name, n in zip(fixed, values, strict=True)}

    def _threshold(self, model: SplitModel, masks: Mapping[str, Tensor], held: Labeled, before: float) -> float:
        """The largest threshold that the held-out accuracy bears; 0 = none is borne."""
        for threshold in reversed(THRESHOLDS):
            tried = copy.deepcopy(model)
            zero_channels(batch_norms(tried), below(masks, threshold), shift=False)
            if accuracy_percent(tried, held) >= before - self.max_drop:
                return threshold
        return 0.0


class Perturbed:
    """A model in training mode whose batch-norm scales and shifts are masked and perturbed; itself it never changes."""

    def __init__(self, model: SplitModel, layers: Mapping[str, BatchNorm]) -> None:
        self.model = copy.deepcopy(model).train().requires_grad_(False)
        for module in self.model.modules():
            if isinstance(module, nn.Dropout):
                module.eval()
        self.layers = {name: (layer.weight.detach(), layer.bias.detach()) for name, layer in layers.items()}

    def __call__(
        self, x: Tensor, masks: Mapping[str, Tensor], noise: Mapping[str, tuple[Tensor, Tensor]] | None
    ) -> Tensor:
        """Logits ``[n, C]`` at scale * (mask + noise) and shift * (1 + noise)."""
        changed = {}
        for name, (scale, shift) in self.layers.items():
            on_scale, on_shift = (0.0, 0.0) if noise is None else noise[name]
            changed[f"{name}.weight"] = scale * (masks[name] + on_scale)
            changed[f"{name}.bias"] = shift * (1.0 + on_shift)
        logits: Tensor = torch.func.functional_call(self.model, changed, (x,))
        return logits


class _Clamped(FitHook):
    """Cuts masks to [0, 1] after every step."""

    def __init__(self, masks: Mapping[str, Tensor]) -> None:
        self.masks = masks

    @torch.no_grad()
    def after_step(self, *, last_of_epoch: bool) -> None:
        for mask in self.masks.values():
            mask.clamp_(0.0, 1.0)


def below(masks: Mapping[str, Tensor], threshold: float) -> dict[str, Tensor]:
    """Channels int64 of each layer whose mask is below ``threshold``."""
    return {name: (mask < threshold).nonzero().flatten() for name, mask in masks.items()}
