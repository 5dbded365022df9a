"""Attacks that want the model to fail, not to obey: they have no trigger and craft their upload from clean training."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from attacks.uploader import CraftContext, Uploader
from attacks.view import AttackView, Upload
from fedcrucible_core.learning.weights import Weights


class Untargeted(Uploader):
    """Train as an honest client, then upload ``w_t + update(u, ctx)`` in place of the honest update u.

    The honest buffers and number of examples are uploaded unchanged.
    """

    plants: ClassVar[bool] = False

    @abstractmethod
    def update(self, own: Tensor, ctx: CraftContext) -> Tensor:
        """The update ``[d]`` to upload, from the attacker's own clean update ``[d]``."""

    def craft(self, w_global: Tensor, w_benign: Tensor | None, w_malicious: Tensor, ctx: CraftContext) -> Tensor:
        """The global model plus the crafted update; both local models are the clean one."""
        return w_global + self.update(w_malicious - w_global, ctx)

    def upload(self, view: AttackView) -> Upload:
        """One round of one attacker."""
        own = view.clean_model()
        crafted = self.craft(view.w_global, own.parameters, own.parameters, self.context(view))
        honest = view.w_global + (own.parameters - view.w_global)  # as it is when ``update`` changes nothing
        sent = Weights(crafted, own.buffers)
        return Upload(sent, len(view.clean), own.loss, not torch.equal(crafted, honest))
