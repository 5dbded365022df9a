"""Scaling an update so that it survives being averaged."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from attacks.uploader import CraftContext, Uploader


class Scaled(Uploader):
    """Uploads w_t + gamma * (X - w_t), X the poisoned local model; upload attacks inherit it."""

    gamma: float = Field(0.0, ge=0.0, description="Factor on the update; 0 = participants / (attackers x server_rate)")
    server_rate: float = Field(1.0, gt=0.0, description="Server's learning rate eta that the automatic factor undoes")
    budget: float = Field(0.0, ge=0.0, description="Largest norm of the scaled update; 0 = no limit")

    def scale(self, w_global: Tensor, model: Tensor, ctx: CraftContext) -> Tensor:
        """``w_t + gamma * (X - w_t)``, gamma lowered to budget / ||X - w_t|| where the budget asks for it."""
        update = model - w_global
        gamma = self.gamma or ctx.num_participants / (ctx.attackers * self.server_rate)
        norm = float(update.double().norm())
        if self.budget and gamma * norm > self.budget:
            gamma = self.budget / norm
        return model.clone() if gamma == 1.0 else w_global + gamma * update

    def craft(self, w_global: Tensor, w_benign: Tensor | None, w_malicious: Tensor, ctx: CraftContext) -> Tensor:
        """The scaled model."""
        return self.scale(w_global, w_malicious, ctx)
