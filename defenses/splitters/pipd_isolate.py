"""The detector of PIPD: channels that the likeliest poison drives beyond what clean samples ever reach."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from defenses.base import SPLITTERS, Split
from defenses.kernels.ranks import above_otsu
from defenses.support.fitting import lowest
from defenses.support.fresh_training import FreshTraining
from defenses.support.suspicion import FORWARD_BATCH, model_surprise
from fedcrucible_core.foundation.base import GuideTargets
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.evaluation import logits


@SPLITTERS.register("pipd-isolate")
class PipdIsolate(FreshTraining):
    """Partial: PIPD's detector alone, with presets by loss, for the step that makes its presets isn't public.

    A model is freshly trained on the very set.  The ``poison_preset`` (fraction) of rows with the lowest loss is taken
    for poison, the ``clean_preset`` with the highest for clean.  Of every convolution but the first quarter, and each
    channel k,  d_k = max over the poison preset of a_k - (mean + 3 standard deviations of a_k over the clean preset),
    where a_k is the largest activation over positions.  A row's score is the sum of a_k over those channels, a share of
    ``channels`` (fraction), with the highest d_k.  The upper of two natural classes of the scores (Jenks) is triggered;
    the other rows are the next round's clean preset.

    Two natural classes exist without any poison too.  PIPD's training by presets isn't public either: a run of this
    splitter with ``repair.name = retrain`` is no row of PIPD's.
    """

    paper: ClassVar = (
        ("chen2024pipd", "the isolation step, by its code; presets by loss as in ABL"),
        ("li2021abl", "Section 3.3, presets by loss"),
    )
    choices = ("pipd-presets",)
    cost = "training a model on the set; one number a row and channel in memory"
    traps = ("a partial method: never a row of the paper's", "texts: linear layers stand in for convolutions")
    looks_inside: ClassVar[bool] = True
    models: int = Field(1, ge=1, le=1, description="Models trained from scratch on the set")
    epochs: int = Field(10, ge=1, description="Epochs that it is trained, without augmentation")
    poison_preset: float = Field(
        0.01, gt=0.0, lt=1.0, description="Share (fraction) of lowest losses, taken for poison"
    )
    clean_preset: float = Field(0.2, gt=0.0, lt=1.0, description="Share (fraction) of highest losses, taken for clean")
    channels: float = Field(0.04, gt=0.0, le=1.0, description="Share (fraction) of channels that score")
    rounds: int = Field(5, ge=1, description="Rounds of isolation")

    def split(
        self,
        data: Labeled,
        guide: GuideTargets | None,
        model: nn.Module | None,
        rng: torch.Generator,
    ) -> Split:
        """Isolate. Scores: ``isolation``, ``s_model`` (nats). Raises ValueError without a model."""
        if model is None:
            raise ValueError("pipd-isolate needs a freshly trained model")
        losses = model_surprise(model, data)
        peaks = peak_activations(model, data.inputs)
        n = len(data)
        poison = lowest(losses, max(1, int(self.poison_preset * n + 1e-9)))
        clean = lowest(-losses, max(1, int(self.clean_preset * n + 1e-9)))
        scores, triggered = torch.zeros(n, dtype=torch.float64), torch.zeros(n, dtype=torch.bool)
        for _ in range(self.rounds):
            scores = isolation_scores(peaks, poison, clean, self.channels)
            triggered = above_otsu(scores)
            clean = (~triggered).nonzero().flatten()
        facts = {"flagged": float(triggered.sum())}
        return Split.by(~triggered, triggered, {"isolation": scores, "s_model": losses}, facts)


def isolation_scores(peaks: Tensor, poison: Tensor, clean: Tensor, share: float) -> Tensor:
    """Score float64 ``[n]``: the sum of the row's peaks over the channels that set the poison preset apart.

    Args:
        peaks: ``[n, K]``, largest activation of each channel.
        poison: rows of the poison preset, at least one.
        clean: rows of the clean preset, at least one.
        share: share (fraction) of channels that count, at least one.
    """
    values = peaks.to(torch.float64)
    reached = values[clean].mean(0) + 3.0 * values[clean].std(0, correction=0)
    beyond = values[poison].amax(0) - reached
    count = max(1, int(share * values.shape[1] + 1e-9))
    return values[:, beyond.argsort(descending=True, stable=True)[:count]].sum(1)


def peak_activations(model: nn.Module, inputs: Tensor) -> Tensor:
    """Largest activation over positions, float32 ``[n, K]``, of channels of every convolution but the first quarter.

    Linear layers but the last stand in for convolutions where there are none; the last one where it is the only one.
    In eval mode, on the CPU; what isn't finite counts as 0.
    """
    chosen = _layers(model)
    found: dict[nn.Module, list[Tensor]] = {layer: [] for layer in chosen}

    def note(layer: nn.Module, _seen: tuple[Tensor, ...], output: Tensor) -> None:
        flat = (
            output.flatten(2).amax(2)
            if output.ndim == 4
            else output.flatten(1, -2).amax(1)
            if output.ndim > 2
            else output
        )
        found[layer].append(flat.detach().float().cpu())

    hooks = [layer.register_forward_hook(note) for layer in chosen]
    try:
        logits(model, inputs, FORWARD_BATCH, next(model.parameters()).device)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.cat([torch.cat(parts) for parts in found.values()], 1).nan_to_num(0.0, 0.0, 0.0)


def _layers(model: nn.Module) -> list[nn.Module]:
    convolutions: list[nn.Module] = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    if convolutions:
        return convolutions[len(convolutions) // 4 :]
    linear: list[nn.Module] = [m for m in model.modules() if isinstance(m, nn.Linear)]
    return linear[:-1] or linear
