"""Detection curves from the scores that rules report (docs/choices.md#detection-curve)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedcrucible_core.records.reader import RecordedRun
from fedcrucible_core.records.schema import RoundRecord

SCORE = "score"
"""The diagnostic that says how suspicious a client is, higher = more."""


@dataclass(frozen=True)
class Roc:
    """Rates (0..1) as ever more clients of each round are called malicious, from nobody to all."""

    fpr: tuple[float, ...]
    tpr: tuple[float, ...]
    auroc: float
    """Area under it: 0.5 = no better than chance, below = honest clients look worse than attackers."""
    malicious: int
    honest: int


def roc(rounds: Iterable[RoundRecord]) -> Roc | None:
    """ROC of the scores of all rounds; None without scores, or without clients of both kinds.

    Scores change their scale as training goes on, so each is replaced by its rank in its own round, divided by the
    number of clients (ties share a mean rank): the threshold is "the most suspicious x percent of every round".  In
    rounds without an active attack everyone counts as honest.
    """
    ranks, truths = [], []
    for record in rounds:
        scores = np.asarray(record.per_client.get(SCORE, ()), dtype=np.float64)
        if not len(scores) or len(scores) != len(record.weights) or np.isnan(scores).any():
            continue
        bad = {str(client) for client in record.attackers}
        ranks.append(_ranks(scores) / len(scores))
        truths.append(np.array([client in bad for client in record.weights]))
    if not ranks:
        return None
    return curve(np.concatenate(ranks), np.concatenate(truths))


def curve_of_runs(runs: Iterable[RecordedRun]) -> Roc | None:
    """The same over the rounds of several runs, e.g. one per seed."""
    return roc(record for run in runs for record in run.rounds)


def curve(scores: NDArray[np.float64], malicious: NDArray[np.bool_]) -> Roc | None:
    """ROC of scores ``[n]`` (higher = more suspicious) against the truth ``[n]``; equal scores move together."""
    positives, negatives = int(malicious.sum()), int((~malicious).sum())
    if not positives or not negatives:
        return None
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    hits, alarms = np.cumsum(malicious[order])[ends], np.cumsum(~malicious[order])[ends]
    tpr = np.concatenate([[0.0], hits / positives])
    fpr = np.concatenate([[0.0], alarms / negatives])
    area = float(np.sum(np.diff(fpr) * (tpr[1:] + tpr[:-1]) / 2.0))
    return Roc(tuple(fpr.tolist()), tuple(tpr.tolist()), area, positives, negatives)


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    ordered = np.sort(values)
    below, upto = np.searchsorted(ordered, values, "left"), np.searchsorted(ordered, values, "right")
    return (below + 1 + upto) / 2.0
