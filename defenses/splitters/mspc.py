"""The detector of MSPC: samples whose predicted class bears their pixels being scaled under a learned mask."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from defenses.base import SPLITTERS, Split
from defenses.support.fitting import FitOptions
from defenses.support.fresh_training import FreshTraining
from defenses.support.suspicion import FORWARD_BATCH
from fedcrucible_core.config import ConfigError
from fedcrucible_core.foundation.base import GuideTargets
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.evaluation import logits
from fedcrucible_core.learning.fit import FitHook, minimise
from fedcrucible_core.learning.tasks import task_of

SCALES = tuple(range(2, 13))
"""What pixels are multiplied by."""


@SPLITTERS.register("mspc-split")
class MspcSplit(FreshTraining):
    """Partial: MSPC's detector alone; what its paper's defence does with the flagged samples isn't public.

    A model is freshly trained on the very set.  With a mask m in [0, 1] of the pixels, x' = clip(n (x - tau) m, 0, 1).
    A sample's MSPC is the mean over n = 2 .. 12 of +1 where the model gives x' the class of x, else -1.  ``outer``
    times, m learns for ``inner`` epochs to keep the predictions of the samples whose MSPC is above 0, and to be small:
    mean of KL(f(x) || f(x')) over them and all n, plus ``sparsity`` times the sum of m.  At the end an MSPC above 0 is
    triggered.

    Dark pictures survive scaling, poisoned or not.  A run with ``repair.name = retrain`` is no row of MSPC's.
    """

    paper: ClassVar = (("pal2024mspc", "the detector, algorithm 1, by its code"),)
    choices = ("mspc-mask",)
    cost = "training a model on the set; outer x inner x 11 passes over it"
    traps = ("a partial method: never a row of the paper's", "the clip comes after the mask")
    looks_inside: ClassVar[bool] = True
    models: int = Field(1, ge=1, le=1, description="Models trained from scratch on the set")
    epochs: int = Field(10, ge=1, description="Epochs that it is trained, without augmentation")
    tau: float = Field(0.2, ge=0.0, lt=1.0, description="What is taken from every pixel; one of the code's scripts: .1")
    outer: int = Field(2, ge=0, description="Times that the mask is learned; the code: 4")
    inner: int = Field(2, ge=1, description="Epochs of the mask each time; the code: 10")
    mask_lr: float = Field(0.1, gt=0.0, description="Learning rate of the mask (SGD, momentum .9, decay 5e-4)")
    sparsity: float = Field(0.01, ge=0.0, description="Weight of the sum of the mask")
    mask_batch: int = Field(1000, ge=1, description="Samples per batch of the mask")

    def check(self, info: DataInfo) -> None:
        """Pictures have pixels to scale."""
        if info.task != "vision":
            allowed = f"scales pixels, and {info.name} has {task_of(info).noun}s"
            raise ConfigError("splitter.name", self.name, f"{allowed}; allowed: other splitters")
        super().check(info)

    def split(
        self,
        data: Labeled,
        guide: GuideTargets | None,
        model: nn.Module | None,
        rng: torch.Generator,
    ) -> Split:
        """Flag. Scores: ``mspc`` in [-1, 1].

        Raises ValueError without a model, ConfigError where the samples are no pictures.
        """
        if model is None:
            raise ValueError("mspc-split needs a freshly trained model")
        if not data.inputs.is_floating_point():
            raise ConfigError("splitter.name", self.name, "scales pixels; the samples are no pictures")
        device = next(model.parameters()).device
        mask = torch.ones(1, 1, *data.inputs.shape[2:], device=device)
        scores = self.consistency(model, data.inputs, mask)
        for _ in range(self.outer):
            mask = self._learned(model, data.inputs, scores > 0.0, mask, rng)
            scores = self.consistency(model, data.inputs, mask)
        triggered = scores > 0.0
        facts = {"flagged": float(triggered.sum()), "mask_mean": float(mask.mean())}
        return Split.by(~triggered, triggered, {"mspc": scores}, facts)

    def scaled(self, x: Tensor, mask: Tensor, n: int) -> Tensor:
        """clip(n (x - tau) m, 0, 1) of pictures ``[b, C, H, W]`` and a mask ``[1, 1, H, W]``."""
        return (n * (x - self.tau) * mask).clamp(0.0, 1.0)

    def consistency(self, model: nn.Module, inputs: Tensor, mask: Tensor) -> Tensor:
        """MSPC float64 ``[n]`` of each picture, on the CPU."""
        device = mask.device
        plain = logits(model, inputs, FORWARD_BATCH, device).argmax(1)
        mask = mask.to(inputs.device)
        total = torch.zeros(len(inputs), dtype=torch.float64)
        for n in SCALES:
            same = logits(model, self.scaled(inputs, mask, n), FORWARD_BATCH, device).argmax(1) == plain
            total += torch.where(same, 1.0, -1.0).to("cpu", torch.float64)
        return total / len(SCALES)

    def _learned(self, model: nn.Module, inputs: Tensor, kept: Tensor, mask: Tensor, rng: torch.Generator) -> Tensor:
        """The mask after ``inner`` epochs over all pictures, those of ``kept`` (bool ``[n]``) with a divergence."""
        m = mask.clone().requires_grad_()

        def loss(rows: Tensor) -> Tensor:
            rows = rows.cpu()
            x = inputs[rows[kept[rows]]].to(m.device)
            sparse = self.sparsity * m.abs().sum()
            if not len(x):
                return sparse
            with torch.no_grad():
                plain = F.log_softmax(model(x), 1)
            apart = [
                F.kl_div(F.log_softmax(model(self.scaled(x, m, n)), 1), plain, reduction="sum", log_target=True)
                for n in SCALES
            ]
            return torch.stack(apart).sum() / (len(SCALES) * len(rows)) + sparse

        options = FitOptions(self.mask_lr, weight_decay=5e-4, batch_size=self.mask_batch)
        model.eval()
        minimise([m], loss, len(inputs), options, rng, epochs=self.inner, hook=_Clamped(m))
        return m.detach()


class _Clamped(FitHook):
    """Cuts the mask to [0, 1] after every step."""

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask

    @torch.no_grad()
    def after_step(self, *, last_of_epoch: bool) -> None:
        self.mask.clamp_(0.0, 1.0)
