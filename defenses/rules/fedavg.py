"""FedAvg: the sample-weighted mean, no defence at all."""

from __future__ import annotations

import torch
from pydantic import Field

from defenses.base import RULES, Aggregate, AggregationRule, ClientUpdates
from defenses.kernels.weighting import sample_shares


@RULES.register("fedavg")
class FedAvg(AggregationRule):
    """Mean of all updates, weighted by the clients' examples: delta = sum D_i u_i / sum D_i.

    One attacker can move it anywhere: it is the undefended row of every table.  The result stays finite for any finite
    float32 updates, because a mean never exceeds its largest term and is summed in float64.
    """

    paper = (("mcmahan2017", "algorithm 1"), ("gai2025clipfed", "Eq. 2 with every client accepted"))
    choices = ("sample-weights", "buffers")
    cost = "O(nd): one weighted sum"
    traps = (
        "summed in float64: updates of any finite float32 size give a finite mean",
        "example counts are clients' own claims: max_weight caps a share",
    )
    weighted: bool = Field(True, description="Weight by examples; false = every client counts the same")
    max_weight: float = Field(1.0, gt=0.0, le=1.0, description="Cap (fraction) on one client's share of the mean")

    def aggregate(self, updates: ClientUpdates) -> Aggregate:
        """Aggregate one round; diagnostics ``norm`` = length of each update. Keeps no state."""
        examples = updates.num_examples if self.weighted else torch.ones_like(updates.num_examples)
        weights = sample_shares(examples, max_weight=self.max_weight)
        return Aggregate(updates.weighted_sum(weights), weights, {"norm": updates.norms.tolist()})
