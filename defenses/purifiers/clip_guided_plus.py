"""Our stronger purifier beside CLIP-Fed's: unlearn any visible patch while keeping what the clients taught."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from defenses.base import PURIFIERS, Purified, State
from defenses.kernels.prototypes import transfer_loss
from defenses.support.rectification import Rectifier
from defenses.support.server_training import ServerSet
from fedcrucible_core.foundation.patches import random_patches
from fedcrucible_core.learning.models.base import SplitModel


@PURIFIERS.register("clip-guided-plus")
class ClipGuidedPlus(Rectifier):
    """CLIP-Fed's purifier whose transfer phase asks for the same answer under any small visible patch.

    FR, off by default, is that of ``clip-guided`` (with ``patch_features`` the extractor sees patched images too).  On
    batches in which each image carries a fresh random patch with probability ``patch_probability``, the model trains
    with

    alpha_self * KL(aggregate || model) T^2 + alpha_guide * KL(guide || model) T^2 + alpha_label * CE(y, model).

    ``aggregate`` is a frozen copy of the model as the clients' updates made it, before any purification, and both
    teachers look at the clean image: the first term distils the clients' knowledge on inputs on which a trigger would
    show, so it needs no knowledge of the trigger.  Patches are a generic family (side, place and colour at random),
    never the attack's own.  With alpha_self = 0, alpha_guide = beta, alpha_label = 1 and patch probability 0, and FR
    on, it is exactly ``clip-guided``.
    """

    paper = ("gai2025clipfed", "Eqs. 3-6, on which this variant of our own builds")
    choices = ("feature-map", "prototype-contrast", "transfer-loss", "imagined-trigger")
    knowledge = ("foundation model (CLIP)", "synthetic server images", "triggers are small visible patches")
    cost = "epochs passes over the server's images a round for the model and for its frozen copy"
    lr: float = Field(0.03, gt=0.0, description="Learning rate of the server's training")
    bn_mode: Literal["eval", "train"] = Field(
        "train", description="Batch norm: eval keeps running statistics, train updates them"
    )
    feature_rectification: bool = Field(False, description="Run feature rectification first, as CLIP-Fed does")
    epochs: int = Field(2, ge=0, description="Epochs of the transfer phase each round; 0 = off")
    alpha_self: float = Field(1.0, ge=0.0, description="Weight of agreement with the aggregate on the clean image")
    alpha_guide: float = Field(1.0, ge=0.0, description="Weight of agreement with the guide on the clean image")
    alpha_label: float = Field(1.0, ge=0.0, description="Weight of cross-entropy with the prompted class")
    temperature: float = Field(1.0, gt=0.0, description="Temperature of both agreement terms")
    patch_probability: float = Field(0.75, ge=0.0, le=1.0, description="Chance that an image of a batch is patched")
    max_side: int = Field(6, ge=1, le=32, description="Largest side of a patch, in pixels of a 32-pixel image")
    patch_features: bool = Field(True, description="Patch the images of feature rectification too")

    def run_phases(self, model: SplitModel, server: ServerSet, rng: torch.Generator, state: State) -> Purified:
        """FR, then patch-consistent transfer. Facts ``fr_loss_*`` and ``consistency_loss_*`` (first, last epoch)."""
        transfer = self.epochs > 0 and self.alpha_self + self.alpha_guide + self.alpha_label > 0.0
        aggregate = server.logits(model) if transfer and self.alpha_self > 0.0 else None

        def view(images: Tensor) -> Tensor:
            return self._patched(images, rng)

        facts, kept = self.rectify(model, server, rng, state, view if self.patch_features else None)
        if transfer:
            guide = server.require_guide().logits

            def loss(rows: Tensor) -> Tensor:
                logits = model(view(server.data.inputs[rows]))
                value = self.alpha_label * F.cross_entropy(logits, server.data.labels[rows])
                if self.alpha_guide > 0.0:
                    value = value + self.alpha_guide * transfer_loss(logits, guide[rows], self.temperature)
                if aggregate is not None:
                    value = value + self.alpha_self * transfer_loss(logits, aggregate[rows], self.temperature)
                return value

            losses = self.minimise(model, model.parameters(), loss, len(server), self.epochs, rng)
            facts.update(consistency_loss_first=losses[0], consistency_loss_last=losses[-1])
        return Purified(facts, kept)

    def _patched(self, images: Tensor, rng: torch.Generator) -> Tensor:
        """Each image with a fresh patch, with the chance ``patch_probability``; draws nothing at 0."""
        if self.patch_probability == 0.0:
            return images
        patched = random_patches(images, rng, self.max_side)
        if self.patch_probability == 1.0:
            return patched
        chosen = (torch.rand(len(images), generator=rng) < self.patch_probability).to(images.device)
        return torch.where(chosen[:, None, None, None], patched, images)
