"""AFA: the poisoned update, turned round."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from attacks.uploader import UPLOADERS, CraftContext, RunFacts, Uploader
from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.vector import Slot


def flipped(w_global: Tensor, model: Tensor) -> Tensor:
    """``2 w_t - w``: the update ``w - w_t`` with its sign turned round, ``w_t - (w - w_t)``."""
    return w_global - (model - w_global)


def named_slots(text: str, slots: tuple[Slot, ...]) -> list[Slot]:
    """Slots that a comma-separated list names, each by its full name or by its beginning (``classifier``).

    Raises ValueError for a name that matches nothing.
    """
    found: list[Slot] = []
    for name in (part.strip() for part in text.split(",")):
        matches = [slot for slot in slots if slot.name == name or slot.name.startswith(f"{name}.")]
        if not matches:
            raise ValueError(f"no parameter is called {name!r}")
        found += [slot for slot in matches if slot not in found]
    return found


@UPLOADERS.register("afa")
class AFA(Uploader):
    """Train on poisoned data, then upload w = 2 w_t - w_local: the whole poisoned update with its sign turned round.

    Made for servers that turn signs round themselves where clients disagree (robust learning rate): the flipped update
    becomes a backdoor update again.  Under plain averaging it REMOVES backdoor, so low attack success without a defence
    is expected.  Batch-norm buffers are uploaded as trained, never flipped.

    ``layers`` names the only parameters to flip (or their common beginning, e.g. classifier); all others keep their
    poisoned values.  This is the older variant of public code, with six tensors of a ResNet-18.  In this project's
    resnet18 these are features.conv1.weight, features.layer4.0.conv1.weight, features.layer4.0.conv2.weight,
    features.layer4.1.conv1.weight, features.layer4.1.conv2.weight and classifier.weight.
    """

    paper = (("gai2025clipfed", "AFA"), ("zhuang2024lp", "all-layer flipping of its public code, an inference"))
    choices = ("afa-meaning",)
    cost = "one local training"
    traps = ("batch-norm buffers are never flipped: no negative variance",)
    layers: str = Field("", description="Comma-separated parameters that alone are flipped; empty = all (AFA proper)")

    def check_run(self, run: RunFacts) -> None:
        """Every listed name is a parameter of the model."""
        try:
            self._chosen(run.slots)
        except ValueError as error:
            allowed = f"{error}; allowed: {', '.join(slot.name for slot in run.slots)}"
            raise ConfigError("attack.afa.layers", self.layers, allowed) from None

    def craft(self, w_global: Tensor, w_benign: Tensor | None, w_malicious: Tensor, ctx: CraftContext) -> Tensor:
        """The flipped model; poisoned values where ``layers`` leaves them."""
        upload = flipped(w_global, w_malicious)
        if not self.layers:
            return upload
        chosen = torch.zeros_like(upload, dtype=torch.bool)
        for slot in self._chosen(ctx.slots):
            chosen[slot.start : slot.stop] = True
        return torch.where(chosen, upload, w_malicious)

    def _chosen(self, slots: tuple[Slot, ...]) -> list[Slot]:
        return named_slots(self.layers, slots) if self.layers else []
