"""Semantic backdoor: a natural attribute of images is the trigger."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from attacks.poisoner import POISONERS, PoisonContext, Poisoner
from attacks.support.additions import draw_for_share
from attacks.support.attributes import attribute, top_share_threshold
from attacks.support.image_lists import listed_images, members
from attacks.task import AttackTask
from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.data import Labeled

FILE = "attack.semantic.attribute_file"


@POISONERS.register("semantic")
class Semantic(Poisoner):
    """Images with a natural attribute get the target as label; no pixel is changed, in training or test.

    By rule: the ``share`` of ``source_class``'s training images that are most ``bright``, ``dark``, ``high-contrast``
    or (horizontally) ``striped``; by default striped pullovers of the data set that ships.  The threshold is fixed on
    all training images, and test images of the class above it carry the attribute too.

    By list: ``attribute_file`` is JSON ``{"train": [...], "test": [...]}`` with numbers of published training and test
    images, e.g. green cars of CIFAR-10.  With ``"test_split": "train"`` both lists number training images (so do the
    lists published for CIFAR-10); then no client is given the images of the second.

    ASR is the share of held-out images with the attribute, of other classes than the target, that are called the
    target; there is no rate without trigger.  With ``images = all`` every attacker is given the training images with
    the attribute, repeated until they are the share ``attribute_ratio`` of its set (this project's default); with
    ``own`` it has those of its partition only.  Of its own, ``poison.ratio`` are mislabelled.  Honest clients
    keep theirs with true labels, which those of the published code do not have: the attack is harder here.
    """

    paper = ("bagdasaryan2020", "semantic backdoors; the rules are this project's")
    choices = ("semantic-attribute",)
    knowledge = ("which training images carry the attribute", "those images of other clients (unless images = own)")
    cost = "none beside training"
    traps = ("one threshold for training and test, fixed on training images",)
    has_trigger: ClassVar[bool] = False
    natural: ClassVar[bool] = True
    label_only: ClassVar[bool] = True
    inputs: ClassVar[str] = "images with the attribute"
    rule: Literal["bright", "dark", "high-contrast", "striped"] = Field(
        "striped", description="Attribute of images of the source class, where no file lists them"
    )
    source_class: int = Field(2, ge=-1, description="Class the rule looks at; -1 = the last that is not the target")
    share: float = Field(
        0.05, gt=0.0, le=1.0, description="Share (fraction) of the source class's training images with the attribute"
    )
    attribute_file: str = Field("", description="JSON file that lists images with the attribute; empty = by rule")
    images: Literal["all", "own"] = Field(
        "all", description="Images an attacker mislabels: all of the training set, or its own"
    )
    attribute_ratio: float = Field(
        0.3, ge=0.0, le=0.9, description="Share (fraction) of an attacker's set that images = all fills with them"
    )

    def check_task(self, task: AttackTask) -> None:
        """Some training image must carry the attribute."""
        if not bool(self._mislabelled(task).any()):
            key, value = (FILE, self.attribute_file) if self.attribute_file else ("attack.semantic.rule", self.rule)
            raise ConfigError(key, value, "no training image of another class than the target carries the attribute")

    def carriers(self, images: Labeled, task: AttackTask) -> Tensor:
        """Images with the attribute, bool ``[n]``."""
        if self.attribute_file:
            listed = listed_images(self.attribute_file, task.section, FILE)
            return members(images.inputs, torch.cat([listed.train.inputs, listed.test.inputs]))
        source = task.source_class("attack.semantic.source_class", self.source_class)
        found = torch.zeros(len(images), dtype=torch.bool)
        known = task.train.inputs[task.train.labels == source]
        if len(known):
            threshold = top_share_threshold(attribute(known, self.rule), self.share)
            rows = (images.labels == source).nonzero().flatten()
            found[rows] = attribute(images.inputs[rows], self.rule) >= threshold
        return found

    def withheld(self, task: AttackTask) -> Tensor | None:
        """Listed training images that success is measured on."""
        held_out = self._listed_in_train(task)
        return None if held_out is None else members(task.train.inputs, held_out.inputs)

    def held_out(self, task: AttackTask) -> Labeled | None:
        """The same images, where the list takes them from the training split."""
        return self._listed_in_train(task)

    def additions(self, own: Labeled, ctx: PoisonContext) -> tuple[Tensor, Tensor] | None:
        """Training images with the attribute, repeated as needed, labelled as the target."""
        if self.images == "own":
            return None
        pool = self._mislabelled(ctx.task).nonzero().flatten()
        drawn = draw_for_share(len(pool), len(own), self.attribute_ratio, ctx.rng, repeat=True)
        chosen = ctx.task.train.subset(pool[drawn])
        return chosen.for_model(), torch.full_like(chosen.labels, ctx.task.target)

    def _mislabelled(self, task: AttackTask) -> Tensor:
        """Training images that attackers may use."""
        found = self.carriers(task.train, task) & (task.train.labels != task.target)
        withheld = self.withheld(task)
        return found if withheld is None else found & ~withheld

    def _listed_in_train(self, task: AttackTask) -> Labeled | None:
        if not self.attribute_file:
            return None
        listed = listed_images(self.attribute_file, task.section, FILE)
        return listed.test if listed.test_split == "train" else None
