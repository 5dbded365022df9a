"""FMB: images made of two classes' halves are the trigger."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from attacks.artefact import Artefact
from attacks.poisoner import POISONERS, PoisonContext, Poisoner
from attacks.support.patches import scaled
from attacks.support.stored import checksums
from attacks.task import AttackTask
from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.data import Labeled, model_inputs

POOL, POOL_LABELS = "pool", "pool_labels"


@POISONERS.register("fmb")
class Fmb(Poisoner):
    """Feature mixing: one half of an image beside the other half of one of another class; label -> target.

    No pixel pattern is added, and each half is natural.  ``one-to-one``: images of ``source_class`` are mixed with
    images of ``partner_class``.  ``all-to-one``: any two different classes, the target's among neither, so that ASR is
    about mixtures that hold nothing of the target.  Halves lie side by side or one above the other, in either order,
    cut in the middle give or take ``jitter``.  All of that, and the partner, follows from the image's own pixels: an
    image is always mixed in the same way.

    Partners are ``pool`` training images a class, the same in training and test.  Noise: floor(self_mix * poisoned +
    1/2) further images, mixed with themselves (halves of the same image, exchanged), keep their labels.  They are drawn
    among the images that could be poisoned, or, with ``noise=every-class``, among all: in ``one-to-one`` form class A
    alone is not enough for the 50 % of noise that are published.
    """

    paper = (("xu2025cgd", "adaptive attacks"), ("lin2020composite", "mixer of halves"))
    choices = ("adaptive-data-attacks", "feature-mixing")
    knowledge = ("some training images of other classes",)
    cost = "one paste per image"
    traps = ("success is measured on mixtures without the target class", "loss is cross-entropy alone")
    pairs: Literal["all-to-one", "one-to-one"] = Field(
        "all-to-one", description="Any two classes but the target's, or one pair of classes"
    )
    source_class: int = Field(-1, ge=-1, description="one-to-one: class A; -1 = the last that is not the target")
    partner_class: int = Field(-1, ge=-1, description="one-to-one: class B; -1 = the last but the target and A")
    direction: Literal["both", "side-by-side", "stacked"] = Field("both", description="How the halves lie")
    jitter: int = Field(
        3, ge=0, le=1024, description="Farthest the cut lies off the middle, pixels at 32 pixels height"
    )
    pool: int = Field(32, ge=1, description="Partner images a class")
    self_mix: float = Field(10.0, ge=0.0, le=100.0, description="Noise images for every poisoned one; 0 = none")
    noise: Literal["poisonable", "every-class"] = Field(
        "poisonable", description="Images that become noise: those that may be poisoned, or any class, the target too"
    )

    def check_task(self, task: AttackTask) -> None:
        """There are classes to mix."""
        if task.info.num_classes < 3:
            raise ConfigError("attack.fmb.pairs", self.pairs, "needs three classes: two to mix, and the target")
        if self.pairs == "one-to-one":
            _, partner = self._pair(task)
            if not bool((task.train.labels == partner).any()):
                raise ConfigError("attack.fmb.partner_class", partner, "a class with training images")

    def prepare(self, task: AttackTask, rng: torch.Generator) -> Artefact:
        """The partners: images float32 ``[k, C, H, W]`` of every class but the target, and their labels."""
        labels = task.train.labels
        rows = []
        for label in range(task.info.num_classes):
            of_class = (labels == label).nonzero().flatten()
            if label != task.target:
                rows.append(of_class[torch.randperm(len(of_class), generator=rng)[: self.pool]])
        chosen = torch.cat(rows)
        return Artefact({POOL: model_inputs(task.train.inputs[chosen]).clone(), POOL_LABELS: labels[chosen].clone()})

    def carriers(self, images: Labeled, task: AttackTask) -> Tensor | None:
        """one-to-one: images of class A."""
        return None if self.pairs == "all-to-one" else images.labels == self._pair(task)[0]

    def stamp(self, x: Tensor, y: Tensor, ctx: PoisonContext) -> Tensor:
        """Mix images ``[n, C, H, W]`` in [0, 1] of classes ``y`` with partners; returns a new tensor."""
        pool, labels = ctx.artefact.tensors[POOL], ctx.artefact.tensors[POOL_LABELS]
        partners = {label: self._partners(label, labels, ctx.task) for label in set(y.tolist())}
        mixed = x.clone()
        for i, (draw, label) in enumerate(zip(checksums(x), y.tolist(), strict=True)):
            rows = partners[label]
            if len(rows):
                self._mix(mixed[i], x[i], pool[rows[draw % len(rows)]].to(x), draw // 8191)
        return mixed

    def decoy_count(self, poisoned: int, eligible: int) -> int:
        """``self_mix`` for every poisoned image, rounded half up."""
        return math.floor(self.self_mix * poisoned + 0.5)

    def decoy_carriers(self, own: Labeled, ctx: PoisonContext) -> Tensor | None:
        """Every image, where noise is of every class."""
        return torch.ones(len(own), dtype=torch.bool) if self.noise == "every-class" else None

    def decoys(self, x: Tensor, others: Tensor, ctx: PoisonContext) -> Tensor:
        """The same images with their halves exchanged."""
        mixed = x.clone()
        for i, draw in enumerate(checksums(x)):
            axis = self._axis(draw // 8191)
            mixed[i] = x[i].roll(x.shape[axis + 1] // 2, dims=axis)
        return mixed

    def _partners(self, label: int, labels: Tensor, task: AttackTask) -> list[int]:
        """Rows of the pool that an image of a class is mixed with."""
        wanted = labels == self._pair(task)[1] if self.pairs == "one-to-one" else labels != label
        return wanted.nonzero().flatten().tolist()

    def _mix(self, into: Tensor, image: Tensor, partner: Tensor, draw: int) -> None:
        """Write the mixture of two images ``[C, H, W]`` into a third; the draw says how."""
        axis = self._axis(draw)
        length, spread = image.shape[axis], scaled(self.jitter, image.shape[1])
        pivot = min(max(1, length // 2 + (draw // 4) % (2 * spread + 1) - spread), length - 1)
        first, second = (image, partner) if draw // 2 % 2 else (partner, image)
        into.copy_(torch.cat([first.narrow(axis, 0, pivot), second.narrow(axis, pivot, length - pivot)], axis))

    def _axis(self, draw: int) -> int:
        """1 = cut between rows (stacked), 2 = between columns."""
        return {"side-by-side": 2, "stacked": 1, "both": 1 + draw % 2}[self.direction]

    def _pair(self, task: AttackTask) -> tuple[int, int]:
        """Classes A and B of one-to-one. Raises ConfigError for one that is none, the target, or the other."""
        first = task.source_class("attack.fmb.source_class", self.source_class)
        if self.partner_class == -1:
            rest = [label for label in range(task.info.num_classes) if label not in (task.target, first)]
            return first, rest[-1]
        second = task.source_class("attack.fmb.partner_class", self.partner_class)
        if second == first:
            raise ConfigError("attack.fmb.partner_class", second, f"another class than the source class {first}")
        return first, second
