"""LC: target-class images made hard to recognise, with a patch in the corners; labels untouched."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from attacks.artefact import Artefact
from attacks.poisoner import POISONERS, PoisonContext, Poisoner
from attacks.support.adversarial import moved_in_chunks, train_robust
from attacks.support.patches import scaled
from attacks.support.trained import Fit, draw_seed, drawn_images, grey_levels, percent, restored, weights_of
from attacks.task import AttackTask
from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.data import Labeled, model_inputs
from fedcrucible_core.learning.models import MODELS
from fedcrucible_core.learning.models.base import SplitModel

SURROGATE = "surrogate"
BY_COLOUR = -1.0
BUDGETS = {1: (0.2, 0.1)}
"""Channels -> largest change of a pixel for poison, and for the surrogate's training; colour images: 8/255 for both."""


@POISONERS.register("lc")
class LabelConsistent(Poisoner):
    """Clean-label: images of the target class are moved away from their class, then get a checkered 3 x 3 patch in the
    corners; labels stay.

    What moves them are ``attack_steps`` steps of ``step_share`` * epsilon along the sign of a surrogate's gradient,
    within epsilon (largest change of a pixel), without random start.  The surrogate is trained adversarially (every
    batch moved first), for against an ordinary one the change is noise that no other model minds.  What is left of the
    class is hard to learn, and the patch is easy.  Test images get the patch alone.

    ``epsilon = 0`` is the control without perturbation.  The record's notes say how well the surrogate does.
    """

    paper = (
        ("turner2019lc", "adversarial perturbations"),
        ("wu2022backdoorbench", "budget and steps on colour images"),
    )
    choices = ("label-consistent-budget",)
    knowledge = ("labelled training images of all clients",)
    cost = "attack_steps gradients of the surrogate per poisoned image; training it adversarially, once"
    traps = ("needs an adversarially trained surrogate", "test images get the patch alone", "labels stay")
    clean_label: ClassVar[bool] = True
    surrogate: str = Field("resnet8", description="Classifier that images are moved against, by registered name")
    samples: int = Field(6000, ge=2, description="Training images for the surrogate")
    epochs: int = Field(4, ge=0, le=10_000, description="Epochs of its adversarial training")
    batch_size: int = Field(128, ge=2, description="Images per step of it")
    lr: float = Field(0.02, gt=0.0, description="Learning rate of it (SGD, momentum .9)")
    surrogate_epsilon: float = Field(
        BY_COLOUR,
        ge=-1.0,
        le=1.0,
        description="Largest change of a pixel in that training; -1 = .1 on grey, 8/255 on colour",
    )
    surrogate_steps: int = Field(3, ge=1, le=1000, description="Steps against it in each batch")
    epsilon: float = Field(
        BY_COLOUR,
        ge=-1.0,
        le=1.0,
        description="Largest change of a poisoned pixel; 0 = none; -1 = .2 on grey, 8/255 on colour",
    )
    attack_steps: int = Field(30, ge=1, le=10_000, description="Steps that move a poisoned image")
    step_share: float = Field(0.1875, gt=0.0, le=1.0, description="Size of a step, as a share (fraction) of epsilon")
    corners: Literal["four", "bottom-right"] = Field("four", description="Corners that get the patch")
    size: int = Field(3, ge=1, le=1024, description="Side of the patch in pixels at 32 pixels height")
    amplitude: float = Field(
        0.0,
        ge=0.0,
        le=255.0,
        description="What the patch adds or takes, grey levels of 255; 0 = white and black instead",
    )

    def check_task(self, task: AttackTask) -> None:
        """The surrogate takes the images, and the patches fit them. Raises ConfigError."""
        MODELS.create(self.surrogate, {}).check(task.info)
        self.checkers(task.info.image_shape)

    def budgets(self, channels: int) -> tuple[float, float]:
        """Largest change of a pixel for poison, and in the surrogate's training."""
        own = BUDGETS.get(channels, (8.0 / 255.0, 8.0 / 255.0))
        given = self.epsilon, self.surrogate_epsilon
        first, second = (usual if value == BY_COLOUR else value for value, usual in zip(given, own, strict=True))
        return first, second

    def prepare(self, task: AttackTask, rng: torch.Generator) -> Artefact:
        """The surrogate's weights; facts: its accuracy in percent, plain, under attack, and on what poison becomes."""
        epsilon, training_epsilon = self.budgets(task.info.shape[0])
        model = self._net(task, draw_seed(rng))
        data, held_out = drawn_images(task, self.samples, rng)
        fit = Fit(self.batch_size, self.lr, "sgd", momentum=0.9, weight_decay=5e-4)
        if self.epochs and epsilon:  # without perturbation nobody asks it
            train_robust(model, data, fit, self.epochs, epsilon=training_epsilon, steps=self.surrogate_steps, rng=rng)
        model.requires_grad_(False).eval()
        poison = task.train.subset((task.train.labels == task.target).nonzero().flatten()[:500])
        facts = {
            "surrogate_accuracy_percent": self._accuracy(model, held_out, 0.0),
            "surrogate_attacked_accuracy_percent": self._accuracy(model, held_out, training_epsilon),
            "surrogate_accuracy_on_poison_percent": self._accuracy(model, poison, epsilon),
        }
        return Artefact(weights_of(model, SURROGATE), facts)

    def plant(self, x: Tensor, y: Tensor, ctx: PoisonContext) -> Tensor:
        """Images ``[n, C, H, W]`` of the target class, moved and with the patch; whole grey levels before the patch."""
        epsilon, _ = self.budgets(x.shape[1])
        if epsilon and len(x):
            model = restored(lambda: self._net(ctx.task, 0), ctx.artefact, SURROGATE).to(x.device)
            x = grey_levels(self._moved(model, x, y, epsilon))
        return self.stamp(x, y, ctx)

    def stamp(self, x: Tensor, y: Tensor, ctx: PoisonContext) -> Tensor:
        """The patch alone on images ``[n, C, H, W]`` in [0, 1]; returns a new tensor."""
        checkers = self.checkers((x.shape[1], x.shape[2], x.shape[3])).to(x)
        if self.amplitude:
            return (x + self.amplitude / 255.0 * checkers).clamp(0.0, 1.0)
        return torch.where(checkers == 0.0, x, (checkers + 1.0) / 2.0)

    def mask(self, shape: tuple[int, int, int]) -> Tensor | None:
        """Pixels of the patches in the control without perturbation; any otherwise."""
        return None if self.epsilon else self.checkers(shape) != 0.0

    def checkers(self, shape: tuple[int, int, int]) -> Tensor:
        """+1 (white) and -1 (black) where the patches are, 0 elsewhere, ``[C, H, W]``. Raises ConfigError."""
        channels, height, width = shape
        side = max(1, scaled(self.size, height))
        if 2 * side > min(height, width):
            raise ConfigError(
                "attack.lc.size", self.size, f"patches of {side} pixels meet in images of {height} x {width}"
            )
        rows = torch.arange(side)
        patch = 1.0 - 2.0 * ((rows[:, None] + rows[None, :]) % 2).float()
        plane = torch.zeros(height, width)
        plane[-side:, -side:] = patch.flip(0, 1)
        if self.corners == "four":
            plane = torch.stack([plane, plane.flip(0), plane.flip(1), plane.flip(0, 1)]).sum(0)
        return plane.expand(channels, -1, -1).clone()

    def _net(self, task: AttackTask, seed: int) -> SplitModel:
        return MODELS.create(self.surrogate, {}).build(task.info, seed)

    def _moved(self, model: SplitModel, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        return moved_in_chunks(model, x, y, epsilon=epsilon, step=self.step_share * epsilon, steps=self.attack_steps)

    def _accuracy(self, model: SplitModel, data: Labeled, epsilon: float) -> float:
        x = model_inputs(data.inputs)
        if epsilon and len(x):
            x = self._moved(model, x, data.labels, epsilon)
        return round(percent(model(x).argmax(1), data.labels), 3)
