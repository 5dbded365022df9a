"""What splitters share that look at how fast a sample is learned: options of the models trained for them."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from defenses.base import FreshModels, Needs, Splitter
from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.models.scorers import ScorerFile

LOGITS_ALONE = {
    "true-kfold": "and true-kfold gives logits of the set, by a different one for each fold",
    "file": "and a file gives logits of the set alone",
}
"""Sources of scores that give no model -> why."""


class FreshTraining(Splitter):
    """A splitter for which models are trained from scratch on the very set: CGD's code but for the batch size."""

    score: Literal["fresh3x5", "victim-ckpt5", "true-kfold", "file"] = Field(
        "fresh3x5",
        description="Whose entropy: models trained from scratch on the set; the central run's own model after so many "
        "epochs; of models trained on all but a fold, the one without the sample; file: what scorer names",
    )
    scorer: str = Field(
        "",
        description="score = file: a model that is only run (.onnx, TorchScript), or logits of every row (.npz, .csv)",
    )
    scorer_pixels: Literal["unit", "bytes"] = Field("unit", description="Its pixels: 0 to 1, or 0 to 255")
    scorer_normalise: Literal["data", "imagenet", "none"] = Field(
        "none",
        description="What its pixels in 0 to 1 are normalised with: the data set's constants, ImageNet's, nothing",
    )
    scorer_run: bool = Field(
        False, description="Agreement to run a TorchScript file: a program, with all that this process may do"
    )
    models: int = Field(
        3,
        ge=0,
        le=20,
        description="Models trained from scratch on the set, logits averaged; of true-kfold the folds; 0 = none",
    )
    epochs: int = Field(
        5, ge=1, description="Epochs that each is trained, without augmentation; of victim-ckpt5 the run's"
    )
    lr: float = Field(3e-4, gt=0.0, description="Their learning rate (Adam)")
    weight_decay: float = Field(5e-4, ge=0.0, description="Their L2 weight decay")
    batch_size: int = Field(32, ge=1, description="Their samples per batch")

    looks_inside: ClassVar[bool] = False
    """True: it looks into the model, or asks it about other inputs than the set's: logits alone don't do."""

    def check(self, info: DataInfo) -> None:
        """The source of scores gives what is asked of it."""
        key, fresh = f"splitter.{self.name}", self.needs.fresh
        if self.score != "fresh3x5" and not self.models:
            allowed = (
                f"score = {self.score!r} says whose models score, and models = 0 leaves these out; allowed: 1 or more"
            )
            raise ConfigError(f"{key}.models", 0, allowed)
        if fresh is None:
            return
        if self.looks_inside and self.score in LOGITS_ALONE:
            allowed = f"{self.name} needs the model itself, {LOGITS_ALONE[self.score]}; allowed: fresh3x5, victim-ckpt5"
            raise ConfigError(f"{key}.score", self.score, allowed)
        if self.score == "true-kfold" and fresh.count < 2:
            allowed = "true-kfold scores each sample by a model trained on the other folds; allowed: 2 or more"
            raise ConfigError(f"{key}.models", fresh.count, allowed)

    @property
    def needs(self) -> Needs:
        """Freshly trained models."""
        return Needs(fresh=self.fresh)

    @property
    def fresh(self) -> FreshModels | None:
        """What is trained."""
        if not self.models:
            return None
        key = f"splitter.{self.name}.scorer"
        scorer = ScorerFile(self.scorer, self.scorer_pixels, self.scorer_normalise, self.scorer_run, key)
        return FreshModels(
            self.models, self.epochs, score=self.score, scorer=scorer if self.score == "file" else None,
            lr=self.lr, weight_decay=self.weight_decay, batch_size=self.batch_size,
        )  # fmt: skip
