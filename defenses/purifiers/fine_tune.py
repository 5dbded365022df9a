"""Plain fine-tuning on the server's images: the control that any cleverer purifier must beat."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from defenses.base import PURIFIERS, Purified, State
from defenses.support.server_training import ServerSet, ServerTraining
from fedcrucible_core.learning.models.base import SplitModel


@PURIFIERS.register("fine-tune")
class FineTune(ServerTraining):
    """Cross-entropy on the server's labelled images, whole model, no guide.

    A control (docs/choices.md#controls): where this alone removes a backdoor, the guide's terms add little.
    """

    paper = "control of our own, with the optimiser options of CLIP-Fed's purifier"
    choices = ("controls", "server-training")
    cost = "epochs passes over the server's images a round"
    epochs: int = Field(1, ge=0, description="Epochs over the server's set each round; 0 = off")

    def run_phases(self, model: SplitModel, server: ServerSet, rng: torch.Generator, state: State) -> Purified:
        """Fine-tune. Fact ``loss`` = mean cross-entropy of the last epoch. Keeps no state."""
        if self.epochs == 0:
            return Purified()

        def loss(rows: Tensor) -> Tensor:
            return F.cross_entropy(model(server.data.inputs[rows]), server.data.labels[rows])

        losses = self.minimise(model, model.parameters(), loss, len(server), self.epochs, rng)
        return Purified({"loss": losses[-1]})
