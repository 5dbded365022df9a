"""SignGuard-Sim: SignGuard with the direction of the update as one more feature."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from defenses.base import RULES, ClientUpdates, State
from defenses.kernels.geometry import COSINE_ERROR, cosines, median
from defenses.kernels.ties import level_ties
from defenses.rules.signguard import SignGuard


def similarity_feature(cosine: Tensor) -> Tensor:
    """Cosines ``[n]`` cut to 0..m, m = their median, over 5 m: 0 to 0.2; all 0 where m isn't positive."""
    middle = median(cosine)
    return cosine.clamp(0.0, middle) / (5.0 * middle) if middle > 0.0 else torch.zeros_like(cosine)


@RULES.register("signguard-sim")
class SignGuardSim(SignGuard):
    """SignGuard whose clusters also see the cosine of an update to the last aggregate.

    The fourth feature is min(max(c_i, 0), m) / (5 m), m = median of all c. In the first ``warm_up`` rounds, and while
    there is no last aggregate, c_i = median cosine of u_i to the other clients' updates; then to the last aggregate.
    """

    paper = ("xu2022signguard", "SignGuard-Sim, and its public code")
    choices = ("signguard-sim-feature", "signguard-features", "signguard-clusters")
    state_kept = "last aggregate, float32 [d]"
    cost = "as signguard; O(n^2 d): one Gram pass in the warm-up"
    traps = (
        "the norm band acts before anything is clipped",
        "mean shift started at bins, as in public code, finds other clusters than started at every point",
    )
    warm_up: int = Field(3, ge=0, description="First rounds in which clients are compared with each other")

    def more_features(self, updates: ClientUpdates) -> Tensor:
        """The similarity feature, float64 ``[n, 1]``."""
        last = updates.state.get("last")
        if last is None or updates.round <= self.warm_up:
            cosine = self._among_clients(updates)
        else:
            cosine = updates.cosines_to(last)
        return similarity_feature(level_ties(cosine, COSINE_ERROR))[:, None]

    def new_state(self, delta: Tensor) -> State:
        """State: ``last``, the aggregate float32 ``[d]``."""
        return {"last": delta.cpu()}

    @staticmethod
    def _among_clients(updates: ClientUpdates) -> Tensor:
        similar = cosines(updates.inner.cpu())
        n = len(similar)
        if n == 1:
            return torch.zeros(1, dtype=torch.float64)
        others = similar[~torch.eye(n, dtype=torch.bool)].view(n, n - 1)
        return torch.tensor([median(row) for row in others], dtype=torch.float64)
