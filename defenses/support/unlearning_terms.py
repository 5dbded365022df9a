"""CGD's three loss terms on a split set, with what chooses them: shared by the repair and the purifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from defenses.kernels.unlearning import log_likelihood, softened_divergence
from fedcrucible_core.config import Component
from fedcrucible_core.foundation.base import GuideTargets

Teacher = Literal["guide", "uniform", "none"]


@dataclass(frozen=True)
class Members:
    """Of each row of a set, whether it is clean or triggered (never both), and what the teacher says of it."""

    clean: Tensor
    """bool ``[n]``."""
    triggered: Tensor
    """bool ``[n]``."""
    teacher: Tensor | None
    """Logits ``[n, C]``; None = nobody teaches."""

    @classmethod
    def of(cls, labels: Tensor, clean: Tensor, triggered: Tensor, teacher: Tensor | None) -> Members:
        """From row numbers int64 (on any device); rows without a label (-1) teach nothing: they belong nowhere."""
        known, device = labels >= 0, labels.device
        nothing = torch.zeros_like(known)
        masks = [nothing.index_fill(0, rows.to(device), True) & known for rows in (clean, triggered)]
        return cls(masks[0], masks[1], None if teacher is None else teacher.to(device))


class UnlearningTerms(Component):
    """``CE on clean rows + lambda_un * mean log(p(y) + eps) + lambda_d * T^2 KL(teacher || model)`` on triggered ones.

    Each is a mean over the batch's own members of that part, 0 where it has none.
    """

    retain: bool = Field(True, description="Cross-entropy on clean rows; false = left out (ablation)")
    lambda_un: float = Field(0.025, ge=0.0, description="Weight of the label's log-likelihood on triggered rows; 0=off")
    lambda_d: float = Field(5e-4, ge=0.0, description="Weight of the teacher on triggered rows; 0 = off")
    teacher: Teacher = Field(
        "guide", description="Whose answers triggered rows learn: the guide's, equal ones for all classes, nobody's"
    )
    teacher_scale: float = Field(
        1.0, ge=0.0, description="Scale of the guide's cosines as the teacher's logits; 0 = the guide's own (CLIP: 100)"
    )
    temperature: float = Field(3.0, gt=0.0, description="Temperature T of the teacher")
    epsilon: float = Field(1e-6, gt=0.0, lt=1.0, description="Added to p(y) before its logarithm")

    @property
    def taught(self) -> bool:
        """Whether there is a teacher."""
        return self.teacher != "none" and self.lambda_d > 0.0

    @property
    def asks_guide(self) -> bool:
        """Whether the teacher is the guide."""
        return self.taught and self.teacher == "guide"

    def teacher_logits(self, guide: GuideTargets | None, rows: int, classes: int) -> Tensor | None:
        """The teacher's logits ``[rows, C]``. Raises ValueError where it is the guide, and there is none."""
        if not self.taught:
            return None
        if self.teacher == "uniform":
            return torch.zeros(rows, classes)
        if guide is None:
            raise ValueError("guided unlearning has the guide for a teacher, and there is none")
        return guide.rescaled(self.teacher_scale)

    def loss(self, logits: Tensor, labels: Tensor, members: Members, rows: Tensor) -> Tensor | None:
        """The loss of a batch from its logits ``[b, C]`` and labels ``[b]``, which are ``rows`` of the set.

        None where no term has a member: nothing is to be learned from it.
        """
        clean, triggered = members.clean[rows], members.triggered[rows]
        terms = []
        if self.retain and bool(clean.any()):
            terms.append(F.cross_entropy(logits[clean], labels[clean]))
        if bool(triggered.any()):
            answers = logits[triggered]
            if self.lambda_un > 0.0:
                terms.append(self.lambda_un * log_likelihood(answers, labels[triggered], self.epsilon))
            if members.teacher is not None:
                said = members.teacher[rows][triggered]
                terms.append(self.lambda_d * softened_divergence(answers, said, self.temperature))
        return torch.stack(terms).sum() if terms else None
