"""Label flip: images stay, labels lie."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from attacks.poisoner import POISONERS, PoisonContext, Poisoner
from attacks.task import AttackTask
from fedcrucible_core.learning.data import Labeled


@POISONERS.register("label-flip")
class LabelFlip(Poisoner):
    """Wrong labels on unchanged images, with C classes.

    ``reverse``: y -> C - 1 - y (for odd C the middle class keeps its label); ``next``: y -> (y + 1) mod C.  Both are
    untargeted: any image of the attacker may be flipped, ``poison.target_label`` and ``poison.scope`` have no
    meaning, the attack shows in the accuracy alone and no ASR is measured.

    ``source-target``: images of ``source_class`` -> ``poison.target_label``.  ASR is the share of test images of the
    source class that are called the target.  Nothing is put on them, so there is no rate without trigger.
    """

    paper = (("fang2020", "reverse"), ("tolpegin2020", "source to target"))
    choices = ("label-flip-formula",)
    cost = "none beside training"
    task: ClassVar[str] = ""
    has_trigger: ClassVar[bool] = False
    natural: ClassVar[bool] = True
    label_only: ClassVar[bool] = True
    inputs: ClassVar[str] = "images of the source class"
    mode: Literal["reverse", "next", "source-target"] = Field("reverse", description="How labels are changed")
    source_class: int = Field(
        -1, ge=-1, description="Class that source-target relabels; -1 = the last that is not the target"
    )

    @property
    def targeted(self) -> bool:
        """Only ``source-target`` has a target to reach."""
        return self.mode == "source-target"

    @property
    def poisons_own(self) -> bool:
        """In every mode."""
        return True

    def check_task(self, task: AttackTask) -> None:
        """The source class must exist and not be the target."""
        self.carriers(task.train, task)

    def carriers(self, images: Labeled, task: AttackTask) -> Tensor | None:
        """Images of the source class; any image for untargeted modes."""
        if not self.targeted:
            return None
        return images.labels == task.source_class("attack.label-flip.source_class", self.source_class)

    def relabel(self, y: Tensor, ctx: PoisonContext) -> Tensor:
        """The wrong labels."""
        classes = ctx.task.info.num_classes
        if self.mode == "reverse":
            return classes - 1 - y
        if self.mode == "next":
            return (y + 1) % classes
        return torch.full_like(y, ctx.task.target)
