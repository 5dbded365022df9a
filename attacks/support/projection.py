"""Projected gradient descent: a local training that never leaves a ball around the global model."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from attacks.support.scaling import Scaled
from attacks.view import AttackView
from fedcrucible_core.learning.training import HookChain, TrainingHook
from fedcrucible_core.learning.vector import shaped_like_parameters
from fedcrucible_core.learning.weights import Trained, Weights


def project(vector: Tensor, centre: Tensor, radius: float) -> Tensor:
    """The point of the ball ||v - centre|| <= radius nearest to ``vector [d]``; a new vector.

    The bound holds for the float32 result itself, in float64 arithmetic: where rounding leaves it a hair outside, it is
    pulled in further.
    """
    offset, result, factor = vector - centre, vector.clone(), 1.0
    while (length := _length([result - centre])) > radius:
        factor *= min(radius / length, 1.0 - 1e-7)
        result = centre + offset * factor
    return result


def _length(tensors: list[Tensor]) -> float:
    return float(sum(tensor.square().sum(dtype=torch.float64) for tensor in tensors) ** 0.5)


class Projection(TrainingHook):
    """After every ``every``-th step, and after each epoch's last, project onto ||w - centre|| <= radius."""

    def __init__(self, centre: Tensor, radius: float, every: int = 1) -> None:
        self.centre = centre
        """Flat parameters ``[d]``."""
        self.radius = radius
        self.every = every
        self._steps = 0
        self._pieces: list[Tensor] = []

    @torch.no_grad()
    def after_step(self, model: nn.Module, *, last_of_epoch: bool) -> None:
        """Shorten the model's offset from the centre where it is too long."""
        self._steps += 1
        if self._steps % self.every and not last_of_epoch:
            return
        self._pieces = self._pieces or shaped_like_parameters(model, self.centre)
        parameters = [p for p in model.parameters() if p.requires_grad]
        offsets = [p - c for p, c in zip(parameters, self._pieces, strict=True)]
        length = _length(offsets)
        if length > self.radius:
            for parameter, centre, offset in zip(parameters, self._pieces, offsets, strict=True):
                parameter.copy_(centre + offset * (self.radius / length))


class Projected(Scaled):
    """Trains on its poisoned data within the ball ||w - w_t|| <= eps_r, eps_r = epsilon * decay^(round - 1).

    Any upload attack may inherit it; what ``hook`` does otherwise happens before the projection.
    """

    epsilon: float = Field(0.0, ge=0.0, description="Radius of the ball in round 1; 0 = norm of the own clean update")
    decay: float = Field(1.0, gt=0.0, le=1.0, description="Factor on the radius from round to round")
    project_every: int = Field(
        1, ge=1, description="Batches between projections; each epoch's last is always projected"
    )
    gamma: float = Field(1.0, ge=0.0, description="Factor on the projected update; 0 = as model-replacement")

    def radius(self, view: AttackView) -> float:
        """eps of this round."""
        base = self.epsilon or float((view.clean_model().parameters - view.w_global).double().norm())
        return base * self.decay ** (view.round - 1)

    def malicious_model(self, view: AttackView) -> Trained:
        """Trained within the ball, and projected once more so that the bound holds exactly."""
        radius, inner = self.radius(view), self.hook(view)
        projection = Projection(view.w_global, radius, self.project_every)
        hook = projection if inner is None else HookChain(inner, projection)
        trained = view.train(view.poisoned, settings=view.poison_training, hook=hook)
        return Trained(Weights(project(trained.parameters, view.w_global, radius), trained.buffers), trained.loss)
