"""Summaries of what rounds report as facts: clients' own measurements, the synthetic data, the prototypes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from fedcrucible_core.records.schema import (
    ClientSanitizerSummary,
    ClientsSummary,
    PrototypesSummary,
    Record,
    RoundRecord,
    RunDescription,
    SanitizerSummary,
    SplitSummary,
)
from fedcrucible_core.records.site_matrix import site_matrix

S = TypeVar("S", bound=Record)
LAST_FEW = 3
"""Measured rounds that the short means cover: without an attack the ASR moves by points from round to round."""
CLIENTS, SYNTHETIC, PRETRAINED, OF_CLIENTS = "clients.", "synthetic.", "pretrained.", "client_sanitizer."
SPLIT = "repair.split_"
AVERAGED = "groups.averaged"
SANITIZING = "sanitizer_seconds"
"""Seconds of each client's sanitizer, in a round's ``per_client``."""
MEANS = {
    "ma_last_three_mean_percent": "clients.ma_mean_percent",
    "asr_last_three_mean_percent": "clients.asr_mean_percent",
}


def clients_summary(rounds: Sequence[RoundRecord]) -> ClientsSummary | None:
    """Of the last round in which clients said anything; where the model was repaired, of what they say of it alone."""
    repaired = [r for r in rounds if r.stage == "repair"]
    asked = [r for r in repaired or rounds if r.facts.get("clients.ma_mean_percent") is not None]
    if not asked:
        return None
    found = _facts(ClientsSummary, CLIENTS, asked[-1:])
    found |= {field: _mean(fact, asked[-LAST_FEW:]) for field, fact in MEANS.items()}
    matrix = site_matrix(rounds)
    found["worst_client"], found["answers_dropped"] = matrix.worst_site, matrix.dropped
    heard = [row for row in matrix.sites if row.last_round is not None]
    found["ma_by_client_percent"] = {str(row.site): row.ma_last_percent for row in heard}
    return ClientsSummary(**found)


def sanitizer_summary(rounds: Sequence[RoundRecord]) -> SanitizerSummary | None:
    """Of the last round that says anything of a field."""
    return _whole(SanitizerSummary, _facts(SanitizerSummary, SYNTHETIC, rounds))


def split_summary(rounds: Sequence[RoundRecord]) -> SplitSummary | None:
    """Of the repair's line."""
    return _whole(SplitSummary, _facts(SplitSummary, SPLIT, rounds))


def client_sanitizer_summary(rounds: Sequence[RoundRecord]) -> ClientSanitizerSummary | None:
    """Of the last round in which any client said what it did; seconds of all rounds."""
    found = _facts(ClientSanitizerSummary, OF_CLIENTS, rounds)
    taken = [sum(r.per_client[SANITIZING]) for r in rounds if SANITIZING in r.per_client]
    return _whole(ClientSanitizerSummary, found | ({"seconds": sum(taken)} if found else {}))


def upstream_rejected_percent(run: RunDescription, rounds: Sequence[RoundRecord]) -> float | None:
    """Share of the judged replies of honest clients with poisoned data that got weight 0; None where there are none."""
    judged = [(r, i) for r in rounds for i in (*r.accepted, *r.rejected) if i in run.upstream]
    return 100.0 * sum(i in r.rejected for r, i in judged) / len(judged) if judged else None


def prototypes_summary(rounds: Sequence[RoundRecord]) -> PrototypesSummary | None:
    """Pre-trainings as they were last reported, and small groups counted over all rounds."""
    averaged = [r.facts[AVERAGED] for r in rounds if AVERAGED in r.facts]
    found = _facts(PrototypesSummary, PRETRAINED, rounds)
    return _whole(PrototypesSummary, found | ({"averaged": sum(averaged)} if averaged else {}))


def _facts(kind: type[Record], prefix: str, rounds: Sequence[RoundRecord]) -> dict[str, Any]:
    """Field -> the last value of the fact of that name, for fields that have any."""
    names = {field: f"{prefix}{field}" for field in kind.model_fields}
    return {field: r.facts[fact] for r in rounds for field, fact in names.items() if fact in r.facts}


def _whole(kind: type[S], found: dict[str, Any]) -> S | None:
    return kind(**found) if found else None


def _mean(fact: str, rounds: Sequence[RoundRecord]) -> float | None:
    known = [r.facts[fact] for r in rounds if fact in r.facts]
    return sum(known) / len(known) if known else None
