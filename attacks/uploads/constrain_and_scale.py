"""Constrain and scale: train so that an anomaly detector sees little, then scale up."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from attacks.support.scaling import Scaled
from attacks.uploader import UPLOADERS
from attacks.view import AttackView
from fedcrucible_core.learning.training import TrainingHook
from fedcrucible_core.learning.vector import shaped_like_parameters

Anomaly = Literal["cosine", "l2"]


class AnomalyTerm(TrainingHook):
    """The objective alpha * CE + (1 - alpha) * L, L = 1 - cos(w, w_t) or ||w - w_t||, differentiable in w."""

    def __init__(self, centre: Tensor, alpha: float, kind: Anomaly) -> None:
        self.centre = centre
        """w_t, flat ``[d]``."""
        self.alpha = alpha
        self.kind = kind
        self._pieces: list[Tensor] = []

    def loss(self, model: nn.Module, loss: Tensor) -> Tensor:
        """The mixed objective."""
        return self.alpha * loss + (1.0 - self.alpha) * self.anomaly(model)

    def anomaly(self, model: nn.Module) -> Tensor:
        """L of the model, a scalar; at w = w_t the distance has gradient 0."""
        self._pieces = self._pieces or shaped_like_parameters(model, self.centre)
        pairs = list(zip([p for p in model.parameters() if p.requires_grad], self._pieces, strict=True))
        if self.kind == "l2":
            return _length([w - c for w, c in pairs])
        dot = torch.stack([(w * c).sum() for w, c in pairs]).sum()
        ours, theirs = _length([w for w, _ in pairs]), _length([c for _, c in pairs])
        return 1.0 - dot / ours.clamp(min=1e-12) / theirs.clamp(min=1e-12)


def _length(tensors: list[Tensor]) -> Tensor:
    """Euclidean norm of all together, a scalar; its gradient at zero is zero, where the root's own is infinite."""
    square = torch.stack([tensor.square().sum() for tensor in tensors]).sum()
    return torch.where(square > 0.0, square, 1.0).sqrt() * (square > 0.0)


@UPLOADERS.register("constrain-and-scale")
class ConstrainAndScale(Scaled):
    """Train on poisoned data with alpha * CE + (1 - alpha) * L_anomaly, then upload w_t + gamma * (X - w_t).

    L_anomaly is the cosine distance 1 - cos(w, w_t) of whole models, or the distance ||w - w_t||.  The term is part of
    the differentiated objective.  ``budget`` is the version with a norm bound: gamma = min(gamma, S / ||X - w_t||).
    gamma is chosen as in model-replacement.  The default of alpha is this project's choice.
    """

    paper = ("bagdasaryan2020", "equation 4")
    choices = ("constrain-anomaly", "replacement-factor")
    knowledge = ("number of participants and the server's learning rate",)
    cost = "one local training"
    traps = ("the anomaly term is differentiated, not a number",)
    alpha: float = Field(0.9, gt=0.0, le=1.0, description="Share (fraction) of the cross-entropy in the objective")
    anomaly: Anomaly = Field("l2", description="Anomaly that is kept small: cosine or l2 distance to the global model")

    def hook(self, view: AttackView) -> TrainingHook:
        """The anomaly term."""
        return AnomalyTerm(view.w_global, self.alpha, self.anomaly)
