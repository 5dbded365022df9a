"""FLIP: wrong labels alone, chosen so that training on clean images runs as if a trigger had been planted."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from attacks.artefact import Artefact
from attacks.poisoner import POISONERS, PoisonContext, Poisoner
from attacks.poisoners.badnets import BadNets
from attacks.poisoners.lc import LabelConsistent
from attacks.poisoning import PoisonedSet, eligible_rows, poisoned_set
from attacks.support.known_images import rows_in
from attacks.support.trained import draw_seed, percent
from attacks.support.trajectory import Expert, Nesterov, mismatch
from attacks.task import AttackTask
from fedcrucible_core.learning.data import Labeled, model_inputs
from fedcrucible_core.learning.fit import batch_bounds
from fedcrucible_core.learning.models import MODELS
from fedcrucible_core.learning.models.base import SplitModel

LOGITS, ROWS = "label_logits", "rows"
SURE = 5.0
"""Logit of the true label at the start; the others are 0."""


@POISONERS.register("flip")
class Flip(Poisoner):
    """Label-only: no pixel of any training image changes, a few labels do; test images get the trigger.

    1. An expert is trained on N images and N / C triggered ones added, labelled the target; it is stored every
       ``checkpoint_every`` steps.
    2. Label logits Y [N, C], at first 5 for the true class and 0 for others, are learned: in pass p, from checkpoint p,
       the expert takes a step on a batch of the poisoned set and a student a step on the same images without trigger,
       with labels softmax(Y).  ||student - expert||^2 / ||start - expert||^2 is minimised by SGD on Y.
    3. Labels are flipped where the largest wrong logit is farthest above the true one's, to that class; so many as
       ``poison.ratio`` says.  That class is nearly always the target.

    Images it didn't learn labels for are flipped last, to the target.  Measured with small models on the data that
    ship it is weak: its labels do little more than as many random flips (docs/choices.md).
    """

    paper = (("jha2023flip", "its public code"),)
    choices = ("label-flips-learned",)
    knowledge = ("labelled training images of all clients", "the architecture that is trained")
    cost = "an expert's training, and per pass about three forward and two backward passes over the images, once"
    traps = (
        "images stay byte for byte",
        "weak on the data that ship",
        "of full strength only with the expert's architecture",
    )
    label_only: ClassVar[bool] = True
    trigger: Literal["sine", "patch", "pixel", "corners"] = Field("sine", description="What is put on test images")
    amplitude: float = Field(6.0, gt=0.0, le=255.0, description="Amplitude of the sine, grey levels of 255")
    surrogate: str = Field("resnet8", description="Architecture of expert and student, by registered name")
    samples: int = Field(10_000, ge=2, description="Training images whose labels are learned")
    epochs: int = Field(6, ge=1, le=10_000, description="Epochs of the expert")
    checkpoint_every: int = Field(50, ge=1, description="Steps between two checkpoints")
    passes: int = Field(5, ge=1, le=1000, description="Passes over the images that learn labels, one checkpoint each")
    batch_size: int = Field(256, ge=2, description="Images per step")
    lr: float = Field(0.1, gt=0.0, description="Learning rate of expert and student (SGD, Nesterov .9, decay 2e-4)")
    label_lr: float = Field(150.0, gt=0.0, description="Learning rate of label logits (SGD)")
    label_momentum: float = Field(0.5, ge=0.0, lt=1.0, description="Momentum of label logits")

    def check_task(self, task: AttackTask) -> None:
        """The surrogate takes the images. Raises ConfigError."""
        MODELS.create(self.surrogate, {}).check(task.info)

    def notes(self, attackers: int) -> tuple[str, ...]:
        """That its row is one of a weak attack where data are few and models small."""
        weak = (
            "no trial with small models on the data that ship passed 50 % ASR; as many random flips did about as well"
        )
        return (f"flip is weak here: {weak}",)

    def prepare(self, task: AttackTask, rng: torch.Generator) -> Artefact:
        """Learned logits float32 ``[N, C]`` and the rows int64 ``[N]`` of the training set that they are of."""
        rows = torch.randperm(len(task.train), generator=rng)[: self.samples].sort().values
        images, labels = model_inputs(task.train.inputs[rows]), task.train.labels[rows]
        model = MODELS.create(self.surrogate, {}).build(task.info, draw_seed(rng))
        expert = Expert(model, Nesterov(self.lr, 0.9, 2e-4), self.batch_size)
        source, triggered, given = self._poisoned(images, labels, task, rng)
        inputs = torch.cat([images, triggered])
        kept = expert.checkpoints(lambda r: inputs[r], given, self.epochs, self.checkpoint_every, self.passes, rng)
        logits = SURE * F.one_hot(labels, task.info.num_classes).float()
        velocity = torch.zeros_like(logits)
        loss = 0.0
        for number in range(self.passes):
            at, total = kept[number % len(kept)], 0.0
            order = torch.randperm(len(given), generator=rng)
            bounds = batch_bounds(len(given), self.batch_size)
            for start, stop in bounds:
                batch = order[start:stop]
                clean = source[batch]
                q = logits[clean].softmax(1)
                value, slope = mismatch(expert, at, (inputs[batch], given[batch]), images[clean], q)
                by_logit = q * (slope - (q * slope).sum(1, keepdim=True))
                velocity.mul_(self.label_momentum).index_add_(0, clean, by_logit)
                logits.sub_(self.label_lr * velocity)
                total += value / len(bounds)
            loss = total
        facts = {**self._facts(model, images, labels, logits, task), "last_mismatch": round(loss, 5)}
        return Artefact({LOGITS: logits, ROWS: rows}, facts)

    def stamp(self, x: Tensor, y: Tensor, ctx: PoisonContext) -> Tensor:
        """The trigger on images ``[n, C, H, W]`` in [0, 1]; returns a new tensor."""
        return self.triggered(x)

    def triggered(self, x: Tensor) -> Tensor:
        """The same, which needs nothing beside the images."""
        shape = (x.shape[1], x.shape[2], x.shape[3])
        if self.trigger == "sine":
            return (x + self.wave(x.shape[3]).to(x)).clamp(0.0, 1.0)
        if self.trigger == "corners":
            checkers = LabelConsistent().checkers(shape).to(x)
            return torch.where(checkers == 0.0, x, (checkers + 1.0) / 2.0)
        patch = BadNets(size=3) if self.trigger == "patch" else BadNets(size=1, position="center")
        return torch.where(patch.mask(shape).to(x.device), torch.ones_like(x), x)

    def wave(self, width: int) -> Tensor:
        """What the sine adds to each column: eight periods over columns 0 to width - 1, float32 ``[width]``."""
        turns = torch.linspace(0.0, 16.0 * math.pi, width, dtype=torch.float64)
        return (self.amplitude / 255.0 * torch.sin(turns)).to(torch.float32)

    def plant(self, x: Tensor, y: Tensor, ctx: PoisonContext) -> Tensor:
        """Copies: training images stay as they are."""
        return x.clone()

    def order(self, own: Labeled, rows: Tensor, ctx: PoisonContext) -> Tensor:
        """Largest margin of a wrong label over the true one first; unknown images last."""
        logits, known = self._learned(own.inputs[rows], ctx)
        margin, _ = best_flip(logits, own.labels[rows])
        return rows[torch.where(known, margin, -torch.inf).argsort(descending=True, stable=True)]

    def poison(self, own: Labeled, ctx: PoisonContext) -> PoisonedSet:
        """The same images, with the learned labels where any were flipped."""
        made = poisoned_set(own, self, ctx)
        rows = made.poisoned.nonzero().flatten()
        copied = eligible_rows(own, self, ctx)[: len(made.data) - len(own)]
        true = torch.cat([own.labels, own.labels[copied]])
        logits, known = self._learned(made.data.inputs[rows], ctx)
        _, wrong = best_flip(logits, true[rows])
        labels = made.data.labels.clone()
        labels[rows] = torch.where(known, wrong, labels[rows])
        return replace(made, data=Labeled(made.data.inputs, labels, made.data.rows))

    def _learned(self, x: Tensor, ctx: PoisonContext) -> tuple[Tensor, Tensor]:
        """Logits ``[n, C]`` of images, and which of them are known, bool ``[n]``."""
        rows, logits = ctx.artefact.tensors[ROWS], ctx.artefact.tensors[LOGITS]
        found = rows_in(x, ctx.task.train.inputs[rows])
        return logits[found.clamp(min=0)], found >= 0

    def _poisoned(
        self, images: Tensor, labels: Tensor, task: AttackTask, rng: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Row of the clean image behind each sample of the expert's set, the triggered images, all labels."""
        others = (labels != task.target).nonzero().flatten()
        count = min(len(others), max(1, len(images) // task.info.num_classes))
        chosen = others[torch.randperm(len(others), generator=rng)[:count]]
        triggered = self.triggered(images[chosen])
        source = torch.cat([torch.arange(len(images)), chosen])
        return source, triggered, torch.cat([labels, torch.full((len(chosen),), task.target)])

    @torch.no_grad()
    def _facts(
        self, model: SplitModel, images: Tensor, labels: Tensor, logits: Tensor, task: AttackTask
    ) -> dict[str, float]:
        """The expert's rates on images it was trained on, and what labels became, in percent."""
        some = torch.arange(min(len(images), 500))
        others = some[labels[some] != task.target]
        said = model(self.triggered(images[others])).argmax(1)
        margin, wrong = best_flip(logits, labels)
        flipped = margin > 0.0
        found = {
            "expert_accuracy_percent": percent(model(images[some]).argmax(1), labels[some]),
            "expert_asr_percent": percent(said, torch.full_like(said, task.target)),
            "labels_over_the_true_one": float(flipped.sum()),
            "best_flips_to_target_percent": percent(
                wrong[margin.argsort(descending=True)[:100]], torch.full((min(100, len(wrong)),), task.target)
            ),
        }
        return {name: round(value, 3) for name, value in found.items()}


def best_flip(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """How far the largest wrong logit is above the true one's ``[n]``, and whose it is int64 ``[n]``."""
    true = logits.gather(1, y[:, None])
    wrong = logits.scatter(1, y[:, None], -torch.inf)
    return wrong.max(1).values - true.flatten(), wrong.argmax(1)
