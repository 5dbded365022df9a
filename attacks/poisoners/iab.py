"""IAB: a trigger that a generator makes for every image, and that fits no other."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor

from attacks.artefact import Artefact
from attacks.poisoner import POISONERS, PoisonContext, Poisoner
from attacks.support.input_aware import Translator, fitting_steps, put_on, sharpened
from attacks.support.input_aware_training import Joint, JointSettings, train_mask
from attacks.support.trained import Fit, draw_seed, drawn_images, restored, seeded, weights_of
from attacks.task import AttackTask
from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.models import MODELS

GENERATOR, MASK = "generator", "mask"


@POISONERS.register("iab")
class Iab(Poisoner):
    """Input-aware trigger: x' = x + (G(x) - x) * M(x), pattern G and mask M made from the image; label -> target.

    M is trained first: 100 * mean(max(M - density, 0)) + diversity of masks.  Then G and a classifier are trained
    together: cross-entropy, with a share of each batch triggered (own pattern, label -> target) and as many cross
    samples (the pattern of another image, true label), plus ``diversity`` * mean(||x1 - x2|| / (||G(x1) - G(x2)|| +
    1e-7)), root mean squares of normalised images.  M = tanh(20 m - 10) / 2 + 1/2.

    Two forms, which are two attacks.  In the loop: the classifier that was trained with G; the record's notes report it
    (``in_loop_*``).  As an artefact: images written with the final G, on which a model is trained that G never saw;
    that is what this poisoner plants, with floor(cross_ratio * poisoned + 1/2) cross images beside the poison.
    """

    paper = (("nguyen2020iab", "losses of its public code, reduced"),)
    choices = ("input-aware-forms",)
    knowledge = ("labelled training images of all clients",)
    cost = "two small networks per image; training them takes about two minutes on one core for 6,000 grey images"
    traps = (
        "generator's gradients zeroed every step",
        "cross samples keep their labels",
        "in-loop success is not its ASR",
    )
    surrogate: str = Field("resnet8", description="Classifier trained with the generator, by registered name")
    width: int = Field(
        8, ge=1, le=512, description="Channels of the first layers of G and M; doubled with each halving"
    )
    steps: int = Field(0, ge=0, le=5, description="Times that images are halved; 0 = by size: 32 three, 28 two")
    samples: int = Field(6000, ge=2, description="Training images for G, M and the classifier")
    mask_epochs: int = Field(3, ge=0, le=10_000, description="Epochs of M alone")
    epochs: int = Field(12, ge=0, le=10_000, description="Epochs of G and the classifier together")
    batch_size: int = Field(128, ge=2, description="Images per step")
    lr: float = Field(0.01, gt=0.0, description="Learning rate of G and M (Adam, betas .5 and .9)")
    density: float = Field(0.032, ge=0.0, le=1.0, description="Share (fraction) of the mask that costs nothing")
    diversity: float = Field(1.0, ge=0.0, description="Weight of the patterns' diversity")
    loop_poison: float = Field(0.1, gt=0.0, le=1.0, description="Share (fraction) of each batch poisoned in the loop")
    cross_ratio: float = Field(1.0, ge=0.0, le=100.0, description="Cross images for every poisoned one; 0 = none")
    accumulate_g: bool = Field(False, description="Never zero the gradients of G, as public code does by mistake")

    def check_task(self, task: AttackTask) -> None:
        """The surrogate takes the images, and their sides can be halved so often. Raises ConfigError."""
        MODELS.create(self.surrogate, {}).check(task.info)
        self._halvings(task.info.image_shape)

    def prepare(self, task: AttackTask, rng: torch.Generator) -> Artefact:
        """Weights of G and M; facts about the classifier trained in the loop."""
        generator = seeded(lambda: self._net(task, task.info.shape[0]), rng)
        mask = seeded(lambda: self._net(task, 1), rng)
        victim = MODELS.create(self.surrogate, {}).build(task.info, draw_seed(rng))
        data, held_out = drawn_images(task, self.samples, rng)
        fit = Fit(self.batch_size, self.lr, beta1=0.5, beta2=0.9)
        train_mask(mask, victim.first, data.inputs, fit, self.mask_epochs, self.density, rng)
        joint = Joint(generator, mask, victim)
        joint.train(data, self._joint(task.target), rng)
        tensors = {**weights_of(generator, GENERATOR), **weights_of(mask, MASK)}
        return Artefact(tensors, joint.measured(held_out, task.target))

    def stamp(self, x: Tensor, y: Tensor, ctx: PoisonContext) -> Tensor:
        """Each image ``[n, C, H, W]`` in [0, 1] with the pattern and the mask that it gets; a new tensor."""
        return self._written(x, x, ctx)

    def decoy_count(self, poisoned: int, eligible: int) -> int:
        """``cross_ratio`` for every poisoned image, rounded half up."""
        return math.floor(self.cross_ratio * poisoned + 0.5)

    def decoys(self, x: Tensor, others: Tensor, ctx: PoisonContext) -> Tensor:
        """Images with the pattern and the mask of another image."""
        return self._written(x, others, ctx)

    @torch.no_grad()
    def _written(self, x: Tensor, source: Tensor, ctx: PoisonContext) -> Tensor:
        generator = restored(lambda: self._net(ctx.task, x.shape[1]), ctx.artefact, GENERATOR).to(x.device)
        mask = restored(lambda: self._net(ctx.task, 1), ctx.artefact, MASK).to(x.device)
        return put_on(x, generator(source), sharpened(mask(source))).clamp(0.0, 1.0)

    def _net(self, task: AttackTask, outputs: int) -> Translator:
        return Translator(task.info.shape[0], outputs, self.width, self._halvings(task.info.image_shape))

    def _halvings(self, shape: tuple[int, int, int]) -> int:
        _, height, width = shape
        if not self.steps:
            return fitting_steps(height, width)
        if height % 2**self.steps or width % 2**self.steps:
            raise ConfigError("attack.iab.steps", self.steps, f"images of {height} x {width} can't be halved so often")
        return self.steps

    def _joint(self, target: int) -> JointSettings:
        return JointSettings(
            target, self.epochs, self.batch_size, self.lr, self.loop_poison, self.cross_ratio, self.diversity,
            self.accumulate_g,
        )  # fmt: skip
