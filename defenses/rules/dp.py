"""Client-level differential privacy: clip, sum, add calibrated noise, divide by a fixed number."""

from __future__ import annotations

import math

import torch
from pydantic import Field

from defenses.base import RULES, Aggregate, AggregationRule, ClientUpdates
from defenses.kernels.clipping import add_noise, clip_factors
from defenses.kernels.privacy import epsilon
from fedcrucible_core.config import ConfigError

CLAIM = (
    "of one client's whole participation, for the model's parameters alone (batch-norm statistics are averaged without "
    "noise), if each client joins a round by its own coin and the server is trusted"
)
"""What (epsilon, delta) is a bound on."""


@RULES.register("dp")
class Dp(AggregationRule):
    """delta = (sum u_i min(1, S/||u_i||) + N(0, (z S)^2 I)) / (q N): DP-FedAvg with a fixed denominator.

    S = ``clip``, z = ``noise``, N clients of which a share q is sampled.  The denominator is q N whoever replies, for a
    mean over the replies would depend on them; examples that clients claim play no part, for they would break the
    sensitivity S; S is no median of the data.  The noise in the result has deviation z S / (q N) per parameter: with
    few clients that drowns the model long before epsilon is small, so expect to choose.

    The fact ``epsilon`` is what all rounds so far have spent at delta = 1/N^1.1, by Renyi accounting (Opacus).
    Assumptions: every client joins a round independently with probability q (the round loop draws a fixed number, which
    the usual accounting ignores too; exact for q = 1), the noise is secret, and only the model's parameters are
    released.  Batch-norm statistics are averaged WITHOUT noise, so a model that has them is not covered by the claim.
    The server is trusted: it sees every update before the noise.  Rounds that keep the model release nothing and cost
    nothing; a stated q below the share that really takes part doesn't count.  Without noise, or for one client alone
    (delta would be 1), there is no promise and no epsilon.
    """

    paper = (("mcmahan2018dp", "DP-FedAvg, fixed denominator"), ("geyer2017", ""))
    choices = ("dp-accounting",)
    state_kept = "rounds accounted so far"
    cost = "O(nd): two passes"
    traps = (
        "fixed denominator qN",
        "no sample weights, which would break the sensitivity",
        "noise is divided like the sum",
    )
    clip: float = Field(3.0, gt=0.0, description="S: length that every update is clipped to")
    noise: float = Field(1.0, ge=0.0, description="z: deviation of the noise on the sum, in units of S")
    sampling_rate: float = Field(
        0.0, ge=0.0, le=1.0, description="q: share (fraction) of clients sampled each round; 0 = that of the run"
    )
    delta: float = Field(0.0, ge=0.0, lt=1.0, description="delta at which epsilon is stated; 0 = 1/N^1.1")

    def aggregate(self, updates: ClientUpdates) -> Aggregate:
        """Aggregate one round.

        Diagnostics per client: ``score`` = ``norm`` = length (higher is more suspicious), ``clip`` = factor
        min(1, S/||u_i||). Facts: ``deviation`` of the noise per parameter, ``sampling_rate``, ``denominator`` q N,
        ``releases`` = rounds accounted for, and unless there is no noise ``epsilon`` and ``delta``.

        State: ``releases`` int64, rounds accounted for.
        """
        clients, sampled = self._population(updates)
        rate = self.sampling_rate or sampled / clients
        denominator = rate * clients
        deviation = self.noise * self.clip / denominator
        factors = clip_factors(updates.norms, self.clip)
        result = updates.weighted_sum(factors / denominator)
        add_noise(result, deviation, updates.rng)
        releases = int(updates.state.get("releases", torch.tensor(0))) + 1
        facts = {"deviation": deviation, "sampling_rate": rate, "denominator": denominator, "releases": float(releases)}
        level = self.delta or clients**-1.1
        if self.noise > 0.0 and level < 1.0:
            taken = min(1.0, max(rate, sampled / clients, len(updates) / clients))  # a smaller share would flatter
            facts |= {"epsilon": epsilon(taken, self.noise, releases, level), "delta": level}
        everyone = torch.ones(len(updates), dtype=torch.bool)
        return Aggregate(
            result,
            updates.equal_shares(everyone),
            {"score": updates.norms.tolist(), "norm": updates.norms.tolist(), "clip": factors.tolist()},
            {name: value for name, value in facts.items() if math.isfinite(value)},
            {"releases": torch.tensor(releases)},
        )

    @property
    def privacy(self) -> str:
        """The promise that ``epsilon`` measures."""
        return CLAIM if self.noise > 0.0 else "none: without noise epsilon is infinite"

    def _population(self, updates: ClientUpdates) -> tuple[int, int]:
        """N and how many are sampled each round; a bare call takes its updates for everyone there is."""
        clients = updates.server.clients or len(updates)
        return clients, updates.server.sampled or min(len(updates), clients)

    def check(self, clients: int, malicious: int) -> None:
        """Raise ConfigError also when the accountant isn't installed."""
        super().check(clients, malicious)
        if self.noise > 0.0:
            from importlib.util import find_spec

            if find_spec("opacus") is None:
                raise ConfigError("defense.name", self.name, "needs Opacus for its accounting: pip install opacus")
