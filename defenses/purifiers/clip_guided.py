"""CLIP-Fed's purifier, as printed: feature rectification, then knowledge transfer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from defenses.base import PURIFIERS, Purified, State
from defenses.kernels.prototypes import transfer_loss
from defenses.support.rectification import Rectifier
from defenses.support.server_training import ServerSet
from fedcrucible_core.learning.models.base import SplitModel


@PURIFIERS.register("clip-guided")
class ClipGuided(Rectifier):
    """Pull the features towards the guide's prototypes (FR), then distil the guide's logits into the model (KT).

    FR trains the extractor f and a linear map h into the guide's space with the prototype losses of Eqs. 3-5; the
    classifier stays bit for bit as it was.  h is kept on the server from round to round (in the state) and never used
    for prediction.  KT trains f and the classifier with CE(y, logits) + beta * KL(guide || model) * T^2 (Eq. 6), the
    guide's probabilities first.  The labels y are the prompted classes.

    The paper prints neither epochs, learning rate, tau nor beta: defaults are 1 epoch each, 0.01, 0.1 and 1, with the
    literal temperature 1 (3 is common elsewhere).  It sums the loss over samples; here it is the mean.
    """

    paper = ("gai2025clipfed", "Eqs. 3-6")
    choices = (
        "feature-map",
        "image-prototype",
        "prototype-contrast",
        "server-training",
        "purifier-batch-norm",
        "teacher-scale",
        "transfer-loss",
    )
    knowledge = ("foundation model (CLIP)", "synthetic server images")
    cost = "fr_epochs + kt_epochs passes over the server's images a round; the guide's answers are cached"
    traps = (
        "the guide's logits carry its trained scale: raw cosines would teach a near-uniform answer",
        "KL has the teacher first",
        "the classifier stays bit for bit as it was in FR",
    )
    knowledge_transfer: bool = Field(True, description="Run knowledge transfer; false = no_KD ablation")
    kt_epochs: int = Field(1, ge=0, description="Epochs of knowledge transfer each round; 0 = off")
    beta: float = Field(1.0, ge=0.0, description="Weight of the guide's distillation term beside cross-entropy")
    temperature: float = Field(1.0, gt=0.0, description="Temperature of the distillation term; 1 = as printed")

    def run_phases(self, model: SplitModel, server: ServerSet, rng: torch.Generator, state: State) -> Purified:
        """FR, then KT. Facts: first and last epoch's mean loss of each phase that ran (``fr_loss_*``, ``kt_loss_*``).

        State: h as ``projection.weight [e, feature_dim]`` and ``projection.bias [e]`` (nothing for ``identity``).
        """
        facts, kept = self.rectify(model, server, rng, state)
        if self.knowledge_transfer and self.kt_epochs > 0:
            teacher = server.require_guide().logits

            def loss(rows: Tensor) -> Tensor:
                logits = model(server.data.inputs[rows])
                value = F.cross_entropy(logits, server.data.labels[rows])
                if self.beta > 0.0:
                    value = value + self.beta * transfer_loss(logits, teacher[rows], self.temperature)
                return value

            losses = self.minimise(model, model.parameters(), loss, len(server), self.kt_epochs, rng)
            facts.update(kt_loss_first=losses[0], kt_loss_last=losses[-1])
        return Purified(facts, kept)
