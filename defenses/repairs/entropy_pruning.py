"""Entropy-based pruning: channels whose activations fall into few values over the training set are cut off."""

from __future__ import annotations

from collections.abc import Callable

import torch
from pydantic import Field
from torch import Tensor, nn

from defenses.base import REPAIRS, Needs, Repair, RepairContext
from defenses.kernels.channel_entropy import channel_entropies, low_outliers
from defenses.support.batch_norms import batch_norms, require_batch_norms, zero_channels
from defenses.support.fitting import FORWARD_BATCH
from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.evaluation import logits
from fedcrucible_core.learning.models.base import SplitModel


@REPAIRS.register("ep")
class EntropyPruning(Repair):
    """A channel that most samples leave alone and triggered ones drive far has little entropy: its scale is zeroed.

    Of ``samples`` of the training set, poison included, each channel in front of a batch norm gives one number per
    sample, its largest over all positions.  These are standardised over the samples; their histogram has bins of width
    ``bin_width``.  Channels whose entropy is below mean - ``deviations`` * standard deviation of their layer go.

    No clean sample is needed.  A layer of at most deviations^2 + 1 channels can't lose any (10 at 3): small models
    need fewer deviations.  Where the samples hold no poison, there is nothing to be seen.
    """

    paper = (("zheng2022preactivation", "section 4.3, entropy-based pruning"),)
    choices = ("ep-histogram",)
    knowledge = ("the poisoned training set",)
    cost = "one pass over the samples; O(samples) a channel"
    traps = ("samples at both edges of the histogram are counted", "the largest activation over positions, not all")
    samples: int = Field(500, ge=2, description="Training samples that are looked at, drawn at random")
    bin_width: float = Field(0.1, gt=0.0, description="Width of a bin in standard deviations; the authors' code: .01")
    deviations: float = Field(3.0, ge=0.0, description="Standard deviations below the layer's mean entropy, u")
    shift: bool = Field(True, description="Zero the channel's shift too; the authors' code zeroes the scale alone")

    @property
    def needs(self) -> Needs:
        """What the model was trained on."""
        return Needs(suspects=True)

    def check(self, model: SplitModel, info: DataInfo) -> None:
        """Raise ConfigError where the model has no batch norm."""
        require_batch_norms(model, self.name)

    def repair(self, model: SplitModel, context: RepairContext) -> dict[str, float]:
        """Zero channels in place. Facts: ``pruned`` channels, of ``channels``."""
        data = context.require_suspects().data
        rows = torch.randperm(len(data), generator=context.rng)[: self.samples].sort().values
        layers = require_batch_norms(model, self.name)
        peaks = channel_peaks(model, data.inputs[rows])
        chosen = {
            name: low_outliers(channel_entropies(peak, self.bin_width), self.deviations) for name, peak in peaks.items()
        }
        pruned = zero_channels(layers, chosen, shift=self.shift)
        return {"pruned": float(pruned), "channels": float(sum(layer.num_features for layer in layers.values()))}


def channel_peaks(model: SplitModel, inputs: Tensor) -> dict[str, Tensor]:
    """Largest value over positions of what each batch norm receives, float32 ``[n, C]`` by layer, on the CPU.

    In eval mode, for inputs ``[n, ...]`` on the model's device.
    """
    found: dict[str, list[Tensor]] = {name: [] for name in batch_norms(model)}

    def note(name: str, seen: Tensor) -> None:
        found[name].append(seen.detach().flatten(2).amax(2).cpu() if seen.ndim > 2 else seen.detach().cpu())

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _layer, seen: note(name, seen[0])

    hooks = [layer.register_forward_pre_hook(watch(name)) for name, layer in batch_norms(model).items()]
    try:
        logits(model, inputs, FORWARD_BATCH, inputs.device)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: torch.cat(parts) for name, parts in found.items() if parts}
