"""Norm thresholding: clip every update to a length, then average."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from defenses.base import RULES, Aggregate, AggregationRule, ClientUpdates, State
from defenses.kernels.clipping import clip_factors
from defenses.kernels.geometry import median
from defenses.kernels.weighting import sample_shares


@RULES.register("norm-threshold")
class NormThreshold(AggregationRule):
    """Clip every update to length M, then take the sample-weighted mean: delta = sum alpha_i u_i min(1, M/||u_i||).

    alpha_i = D_i / sum D, so ||delta|| <= M whatever clients send.  M by ``threshold``:

    - ``fixed``: ``bound``, in units of the model's parameters.  What is tight for one model is idle for another; look
      at the diagnostic ``norm`` of a run without attack.
    - ``round``: median length of this round's updates; safe while fewer than half of the clients attack.
    - ``history``: median length of all updates so far, this round's included; with ``calibration_rounds`` only of the
      first rounds, which then must be free of attacks.

    The bound holds for one round, not over many: a backdoor no longer than honest updates passes.
    """

    paper = ("sun2019", "norm thresholding")
    choices: ClassVar[tuple[str, ...]] = ("norm-bound",)
    state_kept = "norms seen so far, or in the calibration rounds, with threshold = history"
    cost = "O(nd): two passes"
    traps: ClassVar[tuple[str, ...]] = ("one bound for all, stated: defaults of public code differ 60-fold",)
    threshold: Literal["fixed", "round", "history"] = Field(
        "fixed", description="M: fixed = bound, round = median norm of the round, history = median norm of all rounds"
    )
    bound: float = Field(3.0, gt=0.0, description="M of threshold = fixed")
    calibration_rounds: int = Field(
        0, ge=0, description="threshold = history: rounds from the first whose norms count; 0 = all"
    )
    max_weight: float = Field(1.0, gt=0.0, le=1.0, description="Cap (fraction) on one client's share of the mean")

    def aggregate(self, updates: ClientUpdates) -> Aggregate:
        """Aggregate one round.

        Diagnostics per client: ``score`` = ``norm`` = length (higher is more suspicious), ``clip`` = factor
        min(1, M/||u_i||). Facts: ``bound`` M, ``clipped`` = updates that were shortened.

        State of ``threshold = history``: ``norms`` float64 ``[k]``, all lengths that count, in rising order (of which
        client or round is of no matter).
        """
        norms, state = updates.norms, self._remembered(updates)
        bound = self.bound
        if self.threshold == "round":
            bound = median(norms)
        elif self.threshold == "history":
            bound = median(state["norms"])
        factors = clip_factors(norms, bound)
        weights = sample_shares(updates.num_examples, max_weight=self.max_weight)
        return Aggregate(
            updates.weighted_sum(weights * factors),
            weights,
            {"score": norms.tolist(), "norm": norms.tolist(), "clip": factors.tolist()},
            {"bound": bound, "clipped": float((factors < 1.0).sum())},
            state,
        )

    def _remembered(self, updates: ClientUpdates) -> State:
        if self.threshold != "history":
            return {}
        known: Tensor = updates.state.get("norms", torch.empty(0, dtype=torch.float64))
        if self.calibration_rounds and updates.round > self.calibration_rounds and len(known):
            return {"norms": known.clone()}
        return {"norms": torch.cat([known, updates.norms]).sort().values}
