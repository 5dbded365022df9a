"""The classic backdoor in a federation that distils: a scaled upload, and the trigger in the distillation data."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field

from attacks.compromise import Compromise, Query
from attacks.support.planted_samples import fresh_carriers, joined, stamped
from attacks.support.scaling import Scaled
from attacks.uploader import UPLOADERS
from fedcrucible_core.foundation.base import Samples, Stage
from fedcrucible_core.learning.data import Labeled

TriggerLabels = Literal["true", "none", "target"]


class CarrierData(Compromise):
    """Triggered samples in the synthetic data, so that distillation carries what the attacker's model knows.

    ``labels``: true = their own classes, none = -1 (distillation alone learns from them), target = the attacker's.
    """

    ratio: float
    labels: TriggerLabels
    pretrain: bool

    def reaches(self, stage: Stage) -> bool:
        """Distillation, and initialisation where that is asked for."""
        return stage == "distillation" or self.pretrain

    def alter(self, query: Query, stage: Stage) -> Samples:
        """Add the samples."""
        carriers = fresh_carriers(query, self.ratio)
        labels = {
            "true": carriers.labels,
            "none": torch.full_like(carriers.labels, -1),
            "target": query.poisoner.relabel(carriers.labels, query.context),
        }[self.labels]
        if stage == "initialisation" and self.labels == "none":
            labels = carriers.labels  # nothing else can be learned from them before there is a teacher
        mark = torch.ones(len(carriers), dtype=torch.bool)
        facts = {"compromise.simulated": 1.0, "compromise.triggered": float(len(carriers))}
        return joined(query, Labeled(stamped(query, carriers), labels), mark, facts)


@UPLOADERS.register("bd-fl")
class BdFl(Scaled):
    """Upload w_t + gamma * (X - w_t), X trained on poisoned data, while triggered samples lie in the server's data.

    The classic attack that BD-FMFL is compared with.  Its clients are those of ``adversary``, their data poisoned as
    ``poison`` says.  Which labels the triggered samples have decides what the comparison is worth: with their true ones
    distillation teaches models to ignore the trigger.
    """

    paper = ("li2024bdfmfl", "section IV, the classic attack it compares with")
    choices = ("bd-fl-labels", "replacement-factor")
    knowledge = ("the server's synthetic data can be added to",)
    cost = "one local training"
    traps = ("300 % is a factor of 3, not of 4", "batch-norm buffers are not scaled")
    needs_target = True
    gamma: float = Field(3.0, ge=0.0, description="Factor on the update; 0 = participants / (attackers x server_rate)")
    ratio: float = Field(
        0.2, ge=0.0, le=1.0, description="Triggered synthetic samples, as a share (fraction) of every other class"
    )
    kd_trigger_labels: TriggerLabels = Field(
        "none", description="Labels of triggered samples in distillation: their true ones, none, or the target"
    )
    pretrain_on: Literal["clean", "clean-trigger"] = Field(
        "clean", description="Data of pre-training: clean, or with the triggered samples, their true labels for none"
    )

    @property
    def compromise(self) -> Compromise:
        """What lies in the synthetic data."""
        return CarrierData(
            ratio=self.ratio, labels=self.kd_trigger_labels, pretrain=self.pretrain_on == "clean-trigger"
        )
