"""Neurotoxin: a backdoor on the coordinates that honest clients move least."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from attacks.support.projection import Projection, project
from attacks.uploader import UPLOADERS, Uploader
from attacks.view import AttackView
from fedcrucible_core.learning.training import HookChain, TrainingHook
from fedcrucible_core.learning.vector import Slot, shaped_like_parameters
from fedcrucible_core.learning.weights import Trained, Weights

LAST_GLOBAL = "neurotoxin.global"
"""In the attacker's memory: the global model it received last, ``[d]``."""


def smallest(values: Tensor, ratio: float) -> Tensor:
    """The share ``ratio`` of coordinates with the smallest MAGNITUDE, bool ``[d]``.

    floor(ratio * d + 1/2) of them; among equal magnitudes the first ones.
    """
    magnitude = values.abs()
    count = int(ratio * len(values) + 0.5)
    if count == 0:
        return torch.zeros_like(values, dtype=torch.bool)
    bound = magnitude.kthvalue(count).values
    kept = magnitude < bound
    ties = (magnitude == bound).nonzero().flatten()
    kept[ties[: count - int(kept.sum())]] = True
    return kept


def smallest_per_layer(values: Tensor, ratio: float, slots: tuple[Slot, ...]) -> Tensor:
    """:func:`smallest` within every named parameter by itself."""
    return torch.cat([smallest(values[slot.start : slot.stop], ratio) for slot in slots])


class GradientMask(TrainingHook):
    """Zeroes the gradient of every coordinate that isn't kept."""

    def __init__(self, kept: Tensor) -> None:
        self.kept = kept
        """bool ``[d]``."""
        self._pieces: list[Tensor] = []

    @torch.no_grad()
    def after_backward(self, model: nn.Module) -> None:
        """Mask the gradients."""
        self._pieces = self._pieces or shaped_like_parameters(model, self.kept)
        parameters = [p for p in model.parameters() if p.requires_grad]
        for parameter, kept in zip(parameters, self._pieces, strict=True):
            if parameter.grad is not None:
                parameter.grad.masked_fill_(~kept, 0.0)


@UPLOADERS.register("neurotoxin")
class Neurotoxin(Uploader):
    """Train the backdoor only on the share ``mask_ratio`` of coordinates that matter least to honest clients.

    A coordinate matters by the MAGNITUDE of a reference: the gradient of the received model on the attacker's clean
    data, or the global model's last move as far as this attacker saw it (the change since it last took part; the
    gradient where it never did).  Gradients are masked in every step and the attacker trains without weight decay, so
    all other coordinates are uploaded exactly as received.  Honest clients hardly change the backdoor's coordinates, so
    it lasts after the attack stops.  ``clip`` keeps the update's norm by projection in every step.

    ``reference = "last-update"`` keeps the received model in the attacker's memory, which travels with every message in
    Flower's simulation.
    """

    paper = ("zhang2022neurotoxin", "algorithm 1; kept share as in the authors' code")
    choices = ("neurotoxin-mask",)
    state_kept = "last global model, only with reference = last-update"
    cost = "one gradient pass and one local training"
    traps = ("smallest by absolute value, not the most negative",)
    mask_ratio: float = Field(0.95, gt=0.0, le=1.0, description="Share (fraction) of coordinates that may move")
    reference: Literal["gradient", "last-update"] = Field(
        "gradient", description="What ranks coordinates: gradient on own clean data, or the global model's last move"
    )
    per_layer: bool = Field(True, description="Take that share of every named parameter, or of all at once (false)")
    clip: float = Field(0.0, ge=0.0, description="Largest norm of the update, by projection; 0 = no limit")

    def kept(self, view: AttackView) -> Tensor:
        """Coordinates that may move this round, bool ``[d]``."""
        values = self._reference(view)
        if self.per_layer and view.slots:
            return smallest_per_layer(values, self.mask_ratio, view.slots)
        return smallest(values, self.mask_ratio)

    def malicious_model(self, view: AttackView) -> Trained:
        """Trained on poisoned data on the kept coordinates alone."""
        hook: TrainingHook = GradientMask(self.kept(view))
        if self.clip:
            hook = HookChain(hook, Projection(view.w_global, self.clip))
        settings = view.poison_training.model_copy(update={"weight_decay": 0.0})
        trained = view.train(view.poisoned, settings=settings, hook=hook)
        if not self.clip:
            return trained
        return Trained(Weights(project(trained.parameters, view.w_global, self.clip), trained.buffers), trained.loss)

    def _reference(self, view: AttackView) -> Tensor:
        if self.reference == "last-update":
            before = view.memory.get(LAST_GLOBAL)
            view.memory[LAST_GLOBAL] = view.w_global.clone()
            if before is not None:
                return view.w_global - before
        return view.gradient(view.clean)
