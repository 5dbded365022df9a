"""FedAvg: the sample-weighted mean, no defence at all."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor

from defenses.base import RULES, Aggregate, AggregationRule, State
from defenses.geometry import require_finite, row_norms, weighted_sum
from defenses.weighting import sample_shares


@RULES.register("fedavg")
class FedAvg(AggregationRule):
    """Mean of all updates, weighted by the clients' examples: delta = sum D_i u_i / sum D_i.

    One attacker can move it anywhere: it is the undefended row of every table.  The result stays finite for any finite
    float32 updates, because a mean never exceeds its largest term and is summed in float64.
    """

    paper = "McMahan et al. 2017, algorithm 1; CLIP-Fed Eq. 2 with every client accepted"
    max_weight: float = Field(1.0, gt=0.0, le=1.0, description="Cap (fraction) on one client's share of the mean")

    def aggregate(
        self,
        w_t: Tensor,
        updates: Tensor,
        num_examples: Tensor,
        ids: Sequence[int],
        round: int,
        rng: torch.Generator,
        state: State,
    ) -> Aggregate:
        """Aggregate one round; diagnostics ``norm`` = length of each update. Keeps no state."""
        require_finite(updates, ids)
        weights = sample_shares(num_examples, max_weight=self.max_weight)
        return Aggregate(weighted_sum(weights, updates), weights, {"norm": row_norms(updates).tolist()})
