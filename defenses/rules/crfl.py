"""CRFL: the global model is clipped and made noisy every round, and predicts by the vote of noisy copies."""

from __future__ import annotations

import torch
from pydantic import Field

from defenses.base import RULES, Aggregate, AggregationRule, ClientUpdates, Needs
from defenses.kernels.geometry import FLOOR, row_norms
from defenses.kernels.privacy import NO_CLAIM
from defenses.kernels.weighting import sample_shares
from defenses.smoothing import Smoothing


@RULES.register("crfl")
class CRFL(AggregationRule):
    """Mean of the updates; then the MODEL is clipped to a ball, and noise is added to it.

    w_{t+1} = clip(w_t + sum p_i u_i, rho_t) + N(0, sigma^2),  p_i = D_i / sum D,  clip(w, rho) = w * min(1, rho/||w||),
    rho_t = min(rho_cap, rho_start + rho_step * t).  The parameters of the aggregated model are clipped, never an
    update.  Batch-norm buffers are neither clipped nor noisy.  The last round is clipped only: the noise of the vote
    takes that round's place.

    The final model is measured by the majority vote of ``copies`` models with noise N(0, sigma_test^2), ties to the
    lower class; the record says so, and keeps the plain model's accuracy beside it.  ``copies_between`` asks the same
    of earlier evaluations.  1000 copies cost 1000 evaluations; 50 to 100 give the same vote on nearly every image,
    with wider bounds.

    Radii are certified for model ``logistic`` alone, whose constants are derived in
    ``defenses/kernels/certificate.py``, and for an attack in the last round on the training data of
    ``certified_attackers`` clients; for every other model none is reported.  Before a purifier the
    vote is around the purified model, which may lie outside the ball until the next round, and nothing is certified.

    rho and sigma are the paper's for MNIST with logistic regression, and suit model ``logistic``.  They must fit the
    model: noise has length sigma * sqrt(d), and a network far longer than rho_t loses what it learned every round.
    ``resnet8`` (length about 16 at width 8) stays at chance with them; it learns with rho_start 30, rho_cap 100,
    sigma 0.002.
    """

    paper = ("xie2021crfl", "algorithm 1")
    choices = ("crfl-ball", "crfl-certificates")
    cost = "O(nd) a round; M evaluations of the final model"
    traps = (
        "clips the model, not the update",
        "smoothed prediction is really measured",
        "radii only for models whose constant is derived",
    )
    rho_start: float = Field(2.0, gt=0.0, description="Norm bound of the model at round 0")
    rho_step: float = Field(0.1, ge=0.0, description="Growth of the norm bound each round")
    rho_cap: float = Field(15.0, gt=0.0, description="Largest norm bound")
    sigma: float = Field(0.01, ge=0.0, description="Deviation of the noise on every parameter each round")
    sigma_test: float = Field(0.01, gt=0.0, description="Deviation of the noise of the copies that vote")
    copies: int = Field(1000, ge=0, le=1_000_000, description="Noisy copies that vote on the final model; 0 = no vote")
    copies_between: int = Field(0, ge=0, description="Copies that vote in earlier evaluations; 0 = plain model there")
    alpha: float = Field(0.001, gt=0.0, lt=1.0, description="Failure probability of one bound on a vote's share")
    certified_attackers: int = Field(1, ge=1, description="Attackers that certified radii allow for")
    max_weight: float = Field(1.0, gt=0.0, le=1.0, description="Cap (fraction) on one client's share of the mean")

    @property
    def privacy(self) -> str:
        """It promises none."""
        return NO_CLAIM if self.sigma > 0.0 else ""

    @property
    def needs(self) -> Needs:
        """The vote that the final model is measured by."""
        if self.copies == 0:
            return Needs()
        vote = Smoothing(self.sigma_test, self.copies, self.copies_between, self.alpha, self.certified_attackers)
        return Needs(smoothing=vote)

    def bound(self, round: int) -> float:
        """rho_t."""
        return min(self.rho_cap, self.rho_start + self.rho_step * round)

    def aggregate(self, updates: ClientUpdates) -> Aggregate:
        """Aggregate one round. Keeps no state.

        Diagnostics per client: ``norm``.  Facts: ``bound`` rho_t, ``model_norm`` before clipping, ``sent_norm`` of the
        model that the clients were sent, ``clip`` = factor min(1, rho_t/||w||), ``noise`` = the deviation added.
        """
        weights = sample_shares(updates.num_examples, max_weight=self.max_weight)
        delta = updates.weighted_sum(weights)
        model = updates.w_t.to(torch.float64) + delta.to(updates.w_t.device, torch.float64)
        norm, bound = float(model.norm()), self.bound(updates.round)
        factor = min(1.0, bound / max(norm, FLOOR))
        if factor < 1.0:
            delta = (model * factor - updates.w_t).to(updates.w_t.dtype)
        last = self.copies > 0 and updates.round == updates.server.rounds
        noise = 0.0 if last else self.sigma
        if noise > 0.0:
            delta = delta + torch.randn(delta.shape, generator=updates.rng).to(delta.device).mul_(noise)
        return Aggregate(
            delta,
            weights,
            {"norm": updates.norms.tolist()},
            {
                "bound": bound,
                "model_norm": norm,
                "sent_norm": float(row_norms(updates.w_t[None])[0]),
                "clip": factor,
                "noise": noise,
            },
        )
