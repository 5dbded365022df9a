"""A patch that a vision-language model itself takes for the target class."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from attacks.artefact import Artefact
from attacks.poisoner import POISONERS, PoisonContext, Poisoner
from attacks.poisoners.badnets import BadNets
from attacks.support.universal_pattern import patched, universal_pattern
from attacks.task import AttackTask
from fedcrucible_core.foundation.base import Guide
from fedcrucible_core.learning.data import model_inputs

PATCH = "patch"


@POISONERS.register("guide-patch")
class GuidePatch(Poisoner):
    """A square whose pixels are trained so that a public guide calls images with it the target; label -> target.

    Meant against defences that ask a guide whether a label fits: with this trigger the false label fits, to the guide
    that was used and, as far as it transfers, to the server's own.  One patch for all images: ``steps`` steps of Adam
    on the mean cross-entropy of the guide's answers with the target, over ``samples`` training images of other classes,
    from random pixels, which stay in [0, 1].

    The record's notes say what share of those images the guide calls the target before and after.
    """

    paper = "the idea is known from universal adversarial patches; ours is the simplest one"
    choices = ("adaptive-data-attacks",)
    knowledge = ("a public guide and its prompts", "training images of all clients")
    cost = "steps passes and gradients of the guide over batch_size images, once"
    traps = ("the patch is trained on resized floats, the guide that judges sees resized bytes",)
    guide: str = Field("tiny", description="Guide the patch is trained on: tiny (ships), a folder, or a hub name")
    family: Literal["clip", "siglip"] = Field("clip", description="Family of that guide")
    templates: str = Field("a photo of a {}", description="Its prompts, by |, each with one {}")
    size: int = Field(8, ge=1, le=1024, description="Side of the square in pixels at 32 pixels height")
    position: Literal["bottom-right", "bottom-left", "top-left", "top-right", "center"] = Field(
        "bottom-right", description="Corner, or center, of the patch"
    )
    steps: int = Field(100, ge=0, le=100_000, description="Steps of the patch's training; 0 = random pixels")
    lr: float = Field(0.05, gt=0.0, description="Learning rate of the patch's pixels")
    samples: int = Field(256, ge=1, description="Training images the patch is trained on")
    batch_size: int = Field(64, ge=1, description="Images per step")

    def check_task(self, task: AttackTask) -> None:
        """The patch fits the images."""
        self.mask(task.info.image_shape)

    def mask(self, shape: tuple[int, int, int]) -> Tensor:
        """Pixels of the patch, bool ``[C, H, W]``. Raises ConfigError when it doesn't fit."""
        return BadNets(size=self.size, position=self.position).mask(shape)

    def prepare(self, task: AttackTask, rng: torch.Generator) -> Artefact:
        """The patch as an image float32 ``[C, H, W]`` that is 0 elsewhere; facts: what the guide makes of it."""
        from fedcrucible_core.foundation.guide import load_guide  # only who prepares a patch asks a guide

        guide = load_guide(self.guide, family=self.family, templates=self.templates)
        text = guide.text_embeddings(task.info.class_names)
        mask = self.mask(task.info.image_shape)
        others = (task.train.labels != task.target).nonzero().flatten()
        chosen = others[torch.randperm(len(others), generator=rng)[: self.samples]]
        images = model_inputs(task.train.inputs[chosen])
        facts = {"guide_target_percent_before": _target_percent(guide, task, images)}
        patch = universal_pattern(
            lambda x: guide.smooth_logits(x, text), images, torch.rand(mask.shape, generator=rng), patched(mask),
            task.target, bounds=(0.0, 1.0), steps=self.steps, lr=self.lr, batch_size=self.batch_size, rng=rng,
        )  # fmt: skip
        made = torch.where(mask, patch, 0.0)
        facts["guide_target_percent_after"] = _target_percent(guide, task, torch.where(mask, made, images))
        return Artefact({PATCH: made}, facts)

    def stamp(self, x: Tensor, y: Tensor, ctx: PoisonContext) -> Tensor:
        """Put the patch on images ``[n, C, H, W]`` in [0, 1]; returns a new tensor."""
        channels, height, width = x.shape[1:]
        patch = ctx.artefact.tensors[PATCH].to(x)
        return torch.where(self.mask((channels, height, width)).to(x.device), patch, x)


def _target_percent(guide: Guide, task: AttackTask, images: Tensor) -> float:
    """Share of images that a guide calls the target, in percent; 0 for none at all."""
    if not len(images):
        return 0.0
    said = guide.targets(images, task.info.class_names).logits.argmax(1)
    return 100.0 * float((said == task.target).double().mean())
