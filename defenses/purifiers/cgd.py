"""CGD's losses every round, on the server's own samples after a split: what its unlearning is worth in a federation."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from defenses.base import PURIFIERS, Needs, Purified, State
from defenses.support.class_balance import as_in_the_whole
from defenses.support.server_training import ServerSet, ServerTraining
from defenses.support.unlearning_terms import Members, UnlearningTerms
from fedcrucible_core.config import ConfigError
from fedcrucible_core.foundation.base import GuideTargets, ServerData
from fedcrucible_core.learning.models.base import SplitModel


@PURIFIERS.register("cgd")
class Cgd(UnlearningTerms, ServerTraining):
    """CGD's guided unlearning as the server phase: three losses on the server's samples, split once before round 1.

    Cross-entropy on the samples that the splitter calls clean, drawn so that classes stand to each other as in the
    whole set; on triggered ones ``lambda_un`` times the log-likelihood of their label and ``lambda_d`` times the
    distance from the teacher.  Undecided samples are left out.  Copies made by augmentation belong where their
    originals do.

    The splitter is ``splitter.name``, or cgd-entropy by the paper's ranks; no sanitizer (``synthetic.sanitizer``) comes
    before it, for triggered samples are what is unlearned.  Optimiser options are those of the other purifiers, so that
    ``purifier.name`` alone compares them.
    """

    paper: ClassVar = (("xu2025cgd", "stage 2, as a purifier of our own"),)
    choices = ("cgd-purifier", "cgd-unlearning", "server-training")
    knowledge = ("synthetic server images", "foundation model")
    cost = "one split; epochs passes over the server's samples a round"
    epochs: int = Field(2, ge=0, description="Epochs over the server's split set each round; 0 = off")

    @property
    def needs(self) -> Needs:
        """The server's data split, and the guide where it teaches."""
        return Needs(split=True, guide=self.asks_guide)

    def purify(
        self, model: SplitModel, data: ServerData, guide: GuideTargets | None, rng: torch.Generator, state: State
    ) -> Purified:
        """Purify in place. Raises ConfigError where nobody split the server's data."""
        if data.clean is None or data.triggered is None:
            raise ConfigError("purifier.name", self.name, "needs the server's data split, nobody split them")
        return super().purify(model, data, guide, rng, state)

    def run_phases(self, model: SplitModel, server: ServerSet, rng: torch.Generator, state: State) -> Purified:
        """Unlearn. Fact ``loss`` = mean loss of the last epoch. Keeps no state."""
        assert server.clean is not None
        assert server.triggered is not None
        labels, device = server.data.labels, server.data.labels.device
        teacher = self.teacher_logits(server.guide, len(server), model.head.out_features)
        members = Members.of(labels, server.clean, server.triggered, teacher)
        used = torch.cat([as_in_the_whole(labels.cpu(), server.clean, rng), server.triggered]).to(device)
        if self.epochs == 0 or not len(used):
            return Purified()

        def loss(places: Tensor) -> Tensor | None:
            rows = used[places]
            return self.loss(model(server.data.inputs[rows]), labels[rows], members, rows)

        losses = self.minimise(model, model.parameters(), loss, len(used), self.epochs, rng)
        return Purified({"loss": losses[-1]})
