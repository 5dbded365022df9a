"""FLDetector: clients whose updates don't follow from their earlier ones are removed, and training starts over."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from defenses.base import RULES, Aggregate, AggregationRule, ClientUpdates
from defenses.kernels.line_clusters import count_clusters, upper_cluster
from defenses.support.update_history import UpdateHistory

FEWEST = 3
"""Clients with a full history below which nothing is tested."""


@RULES.register("fldetector")
class FLDetector(AggregationRule):
    """Predict every client's update from its last one and an L-BFGS Hessian; remove those who are hard to predict.

    In round t, with updates u_i, global model w_t and ubar the mean of the updates that were averaged:
    1. B = L-BFGS product from the last N pairs (w_k - w_{k-1}, ubar_k - ubar_{k-1}), k < t, in compact form.  Updates
       stand where the paper has gradients: B then approximates the Hessian with its sign turned, and nothing else
       changes;
    2. prediction u_i' + B (w_t - w'), u_i' the client's last update and w' the model it was made from;
    3. score = ||prediction - u_i|| over its mean in this round (n times the paper's score, which divides by the sum:
       the same under full participation, and comparable between rounds under sampling);
    4. the mean of a client's last N scores, once it has N, goes to the gap statistic.  Two or more clusters: the
       upper one of exact 2-means is removed for good (by client id), all histories are forgotten, and training starts
       over from the run's initial model with those who remain.
    Otherwise the unweighted mean of everyone who wasn't removed: until the first removal nothing is defended.

    With N = 10 and full participation the first removal can come in round 12, and one in the last round leaves the
    initial model as the result (``restart = "history"`` doesn't).  Under client sampling a client's last
    update counts while the window reaches back to the round it was sent in; a client seen more rarely is never scored.
    Honest clients with unlike or changing data are hard to predict as well, and every removal is final.  The test is
    made every round, and with few clients it errs: of normally distributed scores it finds clusters among 10 in 3 to
    10 %, among 20 in 1 to 3 %, among 50 in under 1 % of all draws.  ``min_ratio`` above 1 asks for a clear distance.

    Memory of the state, float32: 2 N + 2 + clients seen vectors of d numbers, with N = 10 and 100 clients 122: 5.5 GB
    for ResNet-18, and as much in every checkpoint.  ``evidence = "classifier"`` remembers and judges by the
    classifier's columns only.
    """

    paper = ("zhang2022fldetector", "")
    choices = ("fldetector-restart", "fldetector-gap")
    state_kept = "window of global and client differences: O(N d) and [d] per client id"
    cost = "O(nNd)"
    traps = (
        "verdicts by client id, for good",
        "training restarts after a removal",
        "k + 1 clusters are not returned for k",
    )
    window: int = Field(10, ge=1, le=100, description="N: pairs of the L-BFGS window and scores that are averaged")
    clusters_max: int = Field(7, ge=2, le=50, description="K: most clusters that the gap statistic tries")
    reference_draws: int = Field(20, ge=1, le=1000, description="B: uniform reference sets of the gap statistic")
    min_ratio: float = Field(
        1.0,
        ge=1.0,
        description="Remove only if the upper cluster's mean score is this many times the lower's; 1 = paper",
    )
    evidence: Literal["all", "classifier"] = Field(
        "all", description="Columns that are predicted and remembered: all, or the classifier's (saves memory)"
    )
    restart: Literal["model", "history"] = Field(
        "model", description="After a removal: start over from the initial model (paper), or keep it, forget histories"
    )

    @property
    def starts_over(self) -> bool:
        """Whether removed clients' rounds are undone."""
        return self.restart == "model"

    def aggregate(self, updates: ClientUpdates) -> Aggregate:
        """Aggregate one round; asks the round loop to start training over in the round of a removal.

        State: ``removed`` ids with ``removed_score``, and the tensors of :class:`UpdateHistory` by client id.

        Diagnostics per client: ``score`` = mean of its last scores (0 without any; that of its removal afterwards),
        ``predicted`` 0/1 in this round.  Facts: ``removed`` so far, ``removed_now``, ``clusters`` found (0 = not
        tested),
        ``pairs`` the Hessian was made from.
        """
        removed = _removed(updates)
        active = self._active(updates, removed)
        model, rows = self._evidence(updates)
        history = UpdateHistory.read(updates.state, self.window, model.numel())
        errors, pairs = history.prediction_errors(model, rows, updates.ids, active)
        weights = updates.equal_shares(active)
        delta = updates.weighted_sum(weights)
        mean = delta if self.evidence == "all" else delta[updates.output_columns()]
        history = history.after(updates.round, model, rows, updates.ids, active, mean, relative(errors))
        scores = history.mean_scores() | removed
        clusters, caught = self._judge(history.mean_scores(full=True), updates.rng)
        if caught:
            removed |= caught
            history = UpdateHistory.empty(self.window, model.numel())
            weights = updates.equal_shares(self._active(updates, removed))
            delta = updates.weighted_sum(weights)
        return Aggregate(
            delta,
            weights,
            {
                "score": [scores.get(i, 0.0) for i in updates.ids],
                "predicted": [float(i in errors) for i in updates.ids],
            },
            {
                "removed": float(len(removed)),
                "removed_now": float(len(caught)),
                "clusters": float(clusters),
                "pairs": float(pairs),
            },
            history.state()
            | {
                "removed": torch.tensor(sorted(removed), dtype=torch.int64),
                "removed_score": torch.tensor([removed[i] for i in sorted(removed)], dtype=torch.float64),
            },
            restart=bool(caught) and self.starts_over,
        )

    def _active(self, updates: ClientUpdates, removed: dict[int, float]) -> Tensor:
        return torch.tensor([i not in removed for i in updates.ids])

    def _evidence(self, updates: ClientUpdates) -> tuple[Tensor, Tensor]:
        """The global model ``[e]`` and the updates ``[n, e]`` in the columns that count."""
        if self.evidence == "all":
            return updates.w_t, updates.matrix
        columns = updates.output_columns()
        return updates.w_t[columns], updates.matrix[:, columns]

    def _judge(self, scores: dict[int, float], rng: torch.Generator) -> tuple[int, dict[int, float]]:
        """Clusters that the scores have (0 = too few to say), and the clients of the upper one with their scores."""
        if len(scores) < FEWEST:
            return 0, {}
        ids = sorted(scores)
        values = torch.tensor([scores[i] for i in ids], dtype=torch.float64)
        clusters = count_clusters(values, self.clusters_max, self.reference_draws, rng)
        if clusters < 2:
            return clusters, {}
        upper = upper_cluster(values)
        if float(values[upper].mean()) < self.min_ratio * float(values[~upper].mean()):
            return clusters, {}
        return clusters, {i: scores[i] for i, high in zip(ids, upper.tolist(), strict=True) if high}


def relative(errors: dict[int, float]) -> dict[int, float]:
    """Errors over their mean; all 0 when there is no error at all."""
    mean = sum(errors.values()) / max(1, len(errors))
    return {i: error / mean if mean > 0.0 else 0.0 for i, error in errors.items()}


def _removed(updates: ClientUpdates) -> dict[int, float]:
    if "removed" not in updates.state:
        return {}
    ids, scores = updates.state["removed"].tolist(), updates.state["removed_score"].tolist()
    return {int(i): float(score) for i, score in zip(ids, scores, strict=True)}
