"""Edge-case backdoor: rare inputs that honest clients don't have."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from attacks.poisoner import POISONERS, PoisonContext, Poisoner
from attacks.support.additions import draw_for_share
from attacks.task import AttackTask
from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.data import Labeled, model_inputs

FOLDER = "attack.edge-case.folder"


@POISONERS.register("edge-case")
class EdgeCase(Poisoner):
    """Inputs from the tail of the distribution, labelled as the target, are added to an attacker's set.

    Its own images stay as they are (``poison.ratio`` has no meaning); rare inputs are added until they are the
    share ``rare_ratio`` of its set, or all are used.  ASR is measured on held-out rare inputs, not on triggered test
    images, so there is no rate without trigger.

    Without ``folder`` rare inputs are images of ``source_class`` turned round: training images for attackers (any of
    the run's, for such inputs are thought to be collected elsewhere), test images for the measurement.  With
    ``folder`` they are pictures of that class in its sub-folders ``train`` and ``test``; every machine needs the same.
    """

    paper = ("wang2020tails", "edge-case inputs; turned images stand in for the collected ones")
    choices = ("edge-case-inputs",)
    knowledge = ("rare inputs of the source class beyond its own images",)
    cost = "none beside training"
    traps = ("measured on held-out rare inputs, not on triggered ordinary ones",)
    has_trigger: ClassVar[bool] = False
    natural: ClassVar[bool] = True
    inputs: ClassVar[str] = "rare inputs"
    source_class: int = Field(-1, ge=-1, description="True class of rare inputs; -1 = the last that is not the target")
    turn: Literal["half", "quarter"] = Field("half", description="half: upside down; quarter: counter-clockwise")
    folder: str = Field(
        "", description="Folder with rare pictures in sub-folders train and test; empty = turned images"
    )
    rare_ratio: float = Field(0.2, ge=0.0, le=0.95, description="Share (fraction) of rare inputs in an attacker's set")

    @property
    def poisons_own(self) -> bool:
        """Only additions carry the attack."""
        return False

    def check_task(self, task: AttackTask) -> None:
        """Rare inputs can be made or found."""
        _, height, width = task.info.image_shape
        if not self.folder and self.turn == "quarter" and height != width:
            allowed = f"images of {height}x{width} can only be turned by half"
            raise ConfigError("attack.edge-case.turn", self.turn, allowed)
        if not len(self._rare(task)):
            allowed = "no training image is of this class"
            raise ConfigError("attack.edge-case.source_class", self._source(task), allowed)
        self.held_out(task)

    def carriers(self, images: Labeled, task: AttackTask) -> Tensor:
        """Images that become rare inputs when turned."""
        return images.labels == self._source(task)

    def held_out(self, task: AttackTask) -> Labeled | None:
        """The folder's ``test`` pictures."""
        if not self.folder:
            return None
        images = _pictures(self.folder, "test", task.info.image_shape)
        return Labeled(images, torch.full((len(images),), self._source(task)))

    def stamp(self, x: Tensor, y: Tensor, ctx: PoisonContext) -> Tensor:
        """Turn images ``[n, C, H, W]``; copies where rare inputs come from a folder."""
        return self._turned(x)

    def _turned(self, x: Tensor) -> Tensor:
        return x.clone() if self.folder else torch.rot90(x, 2 if self.turn == "half" else 1, (2, 3)).contiguous()

    def additions(self, own: Labeled, ctx: PoisonContext) -> tuple[Tensor, Tensor]:
        """Rare inputs drawn without replacement, labelled as the target."""
        rare = self._rare(ctx.task)
        chosen = rare[draw_for_share(len(rare), len(own), self.rare_ratio, ctx.rng, repeat=False)]
        x = self._turned(model_inputs(chosen))
        return x, torch.full((len(x),), ctx.task.target, dtype=torch.int64)

    def _rare(self, task: AttackTask) -> Tensor:
        """Images that attackers draw from, before they are turned."""
        if self.folder:
            return _pictures(self.folder, "train", task.info.image_shape)
        return task.train.inputs[task.train.labels == self._source(task)]

    def _source(self, task: AttackTask) -> int:
        return task.source_class("attack.edge-case.source_class", self.source_class)


@lru_cache(maxsize=4)
def _pictures(folder: str, part: str, shape: tuple[int, int, int]) -> Tensor:
    from fedcrucible_core.foundation.pixels import fit  # decoders of pictures: only where some are used
    from fedcrucible_core.foundation.sources.pictures import decode_picture
    from fedcrucible_core.learning.datasets.picture_files import picture_files

    place = Path(folder).expanduser() / part
    files = list(picture_files(place)) if place.is_dir() else []
    if not files:
        raise ConfigError(FOLDER, folder, "allowed: a folder whose sub-folders train and test both hold pictures")
    try:
        decoded = [fit(decode_picture(file, shape[0])[None], shape) for file in files]
    except ValueError as error:
        raise ConfigError(FOLDER, folder, f"{error}; replace or remove it") from error
    return torch.cat(decoded).mul_(255.0).round_().to(torch.uint8)
