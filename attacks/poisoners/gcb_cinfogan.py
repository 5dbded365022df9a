"""A clean-image backdoor along a feature that a small InfoGAN finds: the second approximation of GCB."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from attacks.artefact import Artefact
from attacks.poisoner import POISONERS, PoisonContext
from attacks.support.adversarial import ascended
from attacks.support.clean_images import TABLE, CleanImages, sorted_scores
from attacks.support.conditional_gan import NOISE, Critic, Generator, InfoGan
from attacks.support.trained import Fit, drawn_images, restored, seeded, weights_of
from attacks.task import AttackTask
from fedcrucible_core.learning.data import model_inputs

CRITIC = "critic"
CHUNK = 1000


@POISONERS.register("gcb-cinfogan")
class GcbCinfogan(CleanImages):
    """Label-only: images in which a learned natural feature is strong are called the target.

    An approximation, not GCB: that uses a conditional InfoGAN too, but its losses, code and score are unpublished in
    detail.  Here: G(z, c, y) with one code c ~ U(-1, 1) and class-conditional batch norm, a critic with a class
    projection, and a head Q on it that reads c (Gaussian likelihood, weight 1).  An image's score is Q's mean.
    Training: the ``poison.ratio`` of the images of other classes with the highest scores get the target label, and no
    pixel changes.  Test: ``edit_steps`` steps along the sign of the gradient of Q, within ``epsilon`` (largest change
    of a pixel).

    Relabelled images are natural, so a model that learned the trigger also calls such test images the target.
    """

    paper = (("xu2025gcb", "approximation: a reduced conditional InfoGAN"), ("chen2016infogan", "code and its loss"))
    choices = ("clean-image-backdoors",)
    knowledge = ("labelled training images of all clients",)
    cost = "edit_steps gradients of a small network per image; training it takes minutes on one core"
    traps = ("an approximation, never to be printed as GCB", "training images are never changed")
    samples: int = Field(10_000, ge=2, description="Training images for the networks")
    epochs: int = Field(10, ge=0, le=10_000, description="Epochs of their training")
    batch_size: int = Field(64, ge=2, description="Images per step")
    lr: float = Field(1e-3, gt=0.0, description="Learning rate of both (Adam, betas .5 and .999)")
    code_weight: float = Field(1.0, ge=0.0, description="Weight of the code's loss")
    epsilon: float = Field(0.1, gt=0.0, le=1.0, description="Largest change of a pixel at test time")
    edit_steps: int = Field(10, ge=1, le=10_000, description="Steps of an edit")

    def prepare(self, task: AttackTask, rng: torch.Generator) -> Artefact:
        """The critic's weights and the sorted scores; facts: how well Q reads codes of made images (correlation)."""
        shape, classes = task.info.image_shape, task.info.num_classes
        gan = InfoGan(
            seeded(lambda: Generator(shape, classes), rng),
            seeded(lambda: Critic(shape, classes), rng),
            self.code_weight,
        )
        data, _ = drawn_images(task, self.samples, rng)
        gan.train(data, Fit(self.batch_size, self.lr, beta1=0.5), self.epochs, rng)
        others = task.train.subset((task.train.labels != task.target).nonzero().flatten())
        with torch.no_grad():
            scores = [gan.critic.code(model_inputs(part)) for part in torch.split(others.inputs, CHUNK)]
            facts = {"code_correlation": round(_code_read(gan, classes, rng), 4)}
        table = sorted_scores(torch.cat(scores)) if scores else torch.zeros(0)
        return Artefact({**weights_of(gan.critic.eval(), CRITIC), TABLE: table}, facts)

    @torch.no_grad()
    def scores(self, x: Tensor, ctx: PoisonContext) -> Tensor:
        """Q's mean of each image."""
        critic = self._critic(ctx).to(x.device)
        return torch.cat([critic.code(part) for part in torch.split(x, CHUNK)])

    def stamp(self, x: Tensor, y: Tensor, ctx: PoisonContext) -> Tensor:
        """Edit images ``[n, C, H, W]`` in [0, 1] so that Q reads a larger code; returns a new tensor."""
        critic, step = self._critic(ctx).to(x.device), 2.5 * self.epsilon / self.edit_steps
        return ascended(critic.code, x, epsilon=self.epsilon, step=step, steps=self.edit_steps)

    def _critic(self, ctx: PoisonContext) -> Critic:
        info = ctx.task.info
        return restored(lambda: Critic(info.image_shape, info.num_classes), ctx.artefact, CRITIC)


def _code_read(gan: InfoGan, classes: int, rng: torch.Generator) -> float:
    """Correlation of drawn codes and of what Q reads from the images made of them."""
    code = torch.rand(500, 1, generator=rng) * 2.0 - 1.0
    made = gan.generator.eval()(torch.randn(500, NOISE, generator=rng), code, torch.arange(500) % classes)
    both = torch.stack([code.flatten(), gan.critic.code(made)])
    return float(torch.nan_to_num(torch.corrcoef(both)[0, 1]))
