"""FoolsGold: clients whose contributions stay alike over the rounds share one vote."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from defenses.base import RULES, Aggregate, AggregationRule, ClientUpdates
from defenses.kernels.geometry import FLOOR, cosine_distances, gram
from defenses.support.client_memory import IDS, recall, remember

LARGE = 1e30
"""Longest update whose reciprocal length float32 holds in full precision, with room to spare."""


def foolsgold_weights(similar: Tensor, kappa: float = 1.0) -> tuple[Tensor, Tensor]:
    """Weights ``[n]`` in [0, 1] from cosine similarities float64 ``[n, n]`` of the clients' histories.

    Also returns each client's largest similarity after pardoning, ``[n]``.
    """
    others = similar.clone().fill_diagonal_(0.0)
    largest = others.max(1).values + 1e-5
    ratio = largest[:, None] / largest[None, :]
    pardoned = torch.where(ratio < 1.0, others * ratio, others)
    alike = pardoned.max(1).values
    trust = (1.0 - alike).clamp(0.0, 1.0)
    best = float(trust.max())
    if best == 0.0:
        return torch.zeros_like(trust), alike
    trust = (trust / best).clamp(max=0.99)
    return (kappa * (torch.logit(trust) + 0.5)).clamp(0.0, 1.0), alike


@RULES.register("foolsgold")
class FoolsGold(AggregationRule):
    """Weigh clients by how little the sum of their past updates resembles another client's.

    1. History per client id: H_i += u_i / max(1, ||u_i||), of the classifier's columns (the indicative features) or
       of all. Only clients of the round are compared; the others keep what is remembered of them.
    2. cs = cosine similarities of histories, diagonal 0; v_i = max_j cs_ij + 1e-5; an honest client is pardoned for
       resembling a sybil: cs_ij *= v_i / v_j where v_i < v_j.
    3. a_i = 1 - max_j cs_ij in [0, 1], divided by the largest a, 1 becomes 0.99;
       weight_i = kappa * (ln(a_i / (1 - a_i)) + 0.5), cut to [0, 1].
    4. delta = sum of weight_i * u_i over the number of clients of non-zero weight (the original adds gradients up).

    Nobody is trusted when all are identical. A history of norm 0 has no direction: its client gets no trust where
    others have a history, and is not compared with them. The paper would trust it fully, and so distrust honest clients
    who resemble each other. Norms are not bounded: one attacker with an update unlike all others gets full weight
    however long it is. Honest clients with alike data lose theirs.
    """

    paper = ("fung2020foolsgold", "algorithm 1")
    choices = ("foolsgold-history", "foolsgold-mean")
    state_kept = "sum of past updates of the classifier's columns per client id"
    cost = "O(n^2 c), c columns compared"
    traps = (
        "history by client id, never by position",
        "logit and pardoning as in the paper",
        "inputs are not rescaled in place",
    )
    features: Literal["last-layer", "all"] = Field(
        "last-layer", description="Columns that are remembered and compared: the classifier's, or all"
    )
    kappa: float = Field(1.0, gt=0.0, description="Confidence: slope of the logit")

    def aggregate(self, updates: ClientUpdates) -> Aggregate:
        """Aggregate one round. State: ``ids``, and ``history`` float32 ``[clients ever seen, columns]``.

        Diagnostics per client: ``score`` = largest similarity to another client after pardoning (0..1), ``trust`` =
        weight before it is divided by the sum, ``norm``. Facts: ``trusted``, ``remembered`` = clients with a history.
        """
        rows = updates.matrix[:, updates.last_layer if self.features == "last-layer" else slice(None)]
        history = recall(updates.state, "history", updates.ids, rows.new_zeros(rows.shape[1]))
        norms = updates.norms.cpu()
        for past, update, norm in zip(history, rows, norms.tolist(), strict=True):
            if norm <= LARGE:
                past.add_(update, alpha=1.0 / max(1.0, norm))
            else:
                past.add_((update.to(torch.float64) / norm).to(past.dtype))  # 1 / norm is none of float32's numbers
        state = remember(updates.state, "history", updates.ids, history)
        inner = gram(history).cpu()
        compared = inner.diagonal().sqrt() > FLOOR
        if not bool(compared.any()):
            compared[:] = True
        trust, alike = torch.zeros(len(updates), dtype=torch.float64), torch.zeros(len(updates), dtype=torch.float64)
        trust[compared], alike[compared] = foolsgold_weights(
            1.0 - cosine_distances(inner[compared][:, compared]), self.kappa
        )
        trusted = int((trust > 0).sum())
        facts = {"trusted": float(trusted), "remembered": float(len(state[IDS]))}
        per_client = {"score": alike.tolist(), "trust": trust.tolist(), "norm": norms.tolist()}
        delta = updates.weighted_sum(trust / max(1, trusted))
        return Aggregate(delta, trust / (trust.sum() if trusted else 1.0), per_client, facts, state)
