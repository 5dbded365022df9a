"""Rules that measure clients against an update of the server's own, trained on a small labelled root set."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from defenses.base import AggregationRule, Needs
from defenses.needs import RootNeeds
from defenses.updates import ClientUpdates


class RootedRule(AggregationRule):
    """A rule that can't work without a root set; it says which one, the server provides it."""

    knowledge = ("a root set of labelled images",)
    root: Literal["synthetic", "clean"] = Field(
        "synthetic",
        description="Root set: the server's synthetic images, or real ones of the validation split (no client's)",
    )
    root_samples: int = Field(100, ge=1, description="Images in the root set, stratified by class")
    root_training: Literal["steps", "epochs"] = Field(
        "steps",
        description="Train on the root set for as many SGD steps as the median client takes, or for as many epochs",
    )

    @property
    def needs(self) -> Needs:
        """The root set."""
        return Needs(root=RootNeeds(self.root, self.root_samples))

    def root_update(self, updates: ClientUpdates) -> Tensor:
        """The server's own update float32 ``[d]``, where the clients' updates lie.

        Raises:
            ValueError: the server has no root set, or training on it diverged.
        """
        if updates.server.train_root is None:
            raise ValueError(f"{self.name} needs a root set to train on; ServerView.train_root is None")
        client_images = int(updates.num_examples.median()) if self.root_training == "steps" else 0
        update = updates.server.train_root(client_images)
        if update.shape != updates.w_t.shape:
            raise ValueError(f"the root update has shape {tuple(update.shape)}, not {tuple(updates.w_t.shape)}")
        if not bool(torch.isfinite(update).all()):
            raise ValueError("training on the root set diverged: its update isn't finite")
        return update.to(updates.matrix)
