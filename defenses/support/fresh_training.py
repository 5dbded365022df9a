"""What splitters share that look at how fast a sample is learned: options of the models trained for them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from defenses.base import FreshModels, Splitter


class FreshTraining(Splitter):
    """A splitter for which models are trained from scratch on the very set: CGD's code but for the batch size."""

    score: Literal["fresh3x5", "victim-ckpt5", "true-kfold"] = Field(
        "fresh3x5",
        description="Whose entropy: models trained from scratch on the set; the central run's own model after so many "
        "epochs; of models trained on all but a fold, the one without the sample",
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

    @property
    def fresh(self) -> FreshModels | None:
        """What is trained."""
        if not self.models:
            return None
        return FreshModels(
            self.models, self.epochs, score=self.score, lr=self.lr, weight_decay=self.weight_decay,
            batch_size=self.batch_size,
        )  # fmt: skip
