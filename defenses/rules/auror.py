"""Auror: two groups of clients on the parameters that tell them apart."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from defenses.base import RULES, Aggregate, AggregationRule, ClientUpdates
from defenses.kernels.geometry import gram
from defenses.kernels.two_means import split_gaps, two_means
from defenses.rules.clip_fed_filter import distance_to_centre
from defenses.support.client_memory import id_order

BLOCK = 4096
"""Columns that are sorted at a time."""


def indicative_columns(rows: Tensor, alpha: float) -> Tensor:
    """Columns, bool ``[k]``, of ``[n, k]`` whose two centres (2-means of the clients' values) are alpha apart."""
    n, k = rows.shape
    found = torch.zeros(k, dtype=torch.bool)
    if n < 2:
        return found
    for start in range(0, k, BLOCK):
        values = rows[:, start : start + BLOCK].T.contiguous().cpu().numpy()
        found[start : start + BLOCK] = torch.from_numpy(split_gaps(values) >= alpha)
    return found


@RULES.register("auror")
class Auror(AggregationRule):
    """Find the parameters of the last layer on which clients fall into two groups, and drop the smaller group.

    1. In the first ``search_rounds`` rounds: the clients' values of each coordinate of the last layer are split into
       two groups (exact 2-means); the coordinate is indicative, from then on, if the groups' means are at least
       ``alpha`` apart.
    2. 2-means of the clients on all indicative coordinates; the smaller group is rejected, the rest averaged. Nobody
       is rejected when no coordinate is indicative, when the groups are equally large, or among two clients.

    Alpha must fit the size of updates (their learning rate): too small, and somebody is rejected in every round, attack
    or none. Attackers who send extreme values in the search rounds make every coordinate indicative.
    """

    paper = ("shen2016auror", "as in public code")
    choices = ("auror-threshold",)
    state_kept = "indicative columns of the classifier found so far"
    cost = "O(n log n) per column of the classifier"
    traps = (
        "gap threshold compared per coordinate of the last layer, not over the whole model",
        "no indicative coordinate: everyone is accepted, not nobody",
    )
    alpha: float = Field(0.002, gt=0.0, description="Least distance of a coordinate's two centres; tune it")
    search_rounds: int = Field(10, ge=1, description="First rounds that look for indicative coordinates")

    def aggregate(self, updates: ClientUpdates) -> Aggregate:
        """Aggregate one round. State: ``indicative`` bool ``[columns]``, ``searched`` int64 ``[1]`` rounds so far.

        Diagnostics per client: ``score`` = distance to the accepted clients' centre on the indicative coordinates (the
        norm for a giant), ``norm``. Facts: ``indicative`` = their number, ``accepted``.
        """
        order = id_order(updates.ids)
        order = order[updates.no_giants[order]]
        rows = updates.matrix[:, updates.last_layer][order.to(updates.matrix.device)]
        searched = int(updates.state["searched"]) if "searched" in updates.state else 0
        indicative = torch.zeros(rows.shape[1], dtype=torch.bool)
        if "indicative" in updates.state:
            indicative |= updates.state["indicative"].cpu()
        if searched < self.search_rounds:
            indicative |= indicative_columns(rows, self.alpha)
        inner = _inner_of(rows, indicative.nonzero().flatten())
        core = _larger_group(inner)
        accepted, score = torch.zeros(len(updates), dtype=torch.bool), updates.norms.clone()
        accepted[order], score[order] = core, distance_to_centre(inner, core)
        weights = updates.equal_shares(accepted)
        return Aggregate(
            updates.weighted_sum(weights),
            weights,
            {"score": score.tolist(), "norm": updates.norms.tolist()},
            {"indicative": float(indicative.sum()), "accepted": float(accepted.sum())},
            {"indicative": indicative, "searched": torch.tensor([min(searched + 1, self.search_rounds)])},
        )


def _inner_of(rows: Tensor, columns: Tensor) -> Tensor:
    """Centred Gram matrix on the chosen columns, a few thousand at a time."""
    inner = torch.zeros(len(rows), len(rows), dtype=torch.float64)
    for chosen in torch.split(columns, BLOCK):
        inner += gram(rows[:, chosen.to(rows.device)], centred=True).cpu()
    return inner


def _larger_group(inner: Tensor) -> Tensor:
    n = len(inner)
    groups = two_means(inner)
    size = int(groups.sum())
    if n < 3 or 2 * size == n:
        return torch.ones(n, dtype=torch.bool)
    return groups if 2 * size > n else ~groups
