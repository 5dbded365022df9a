"""What one site sent, round by round, beside what the others sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedcrucible.incident.evidence import Evidence, RoundEvidence, rank
from fedcrucible.incident.rejudge import Rejudged

NOT_SHOWN = frozenset({"score", "norm", "client_seconds"})
"""Diagnostics of a rule that have a column of their own, or say nothing of what was sent."""


@dataclass(frozen=True)
class Placed:
    """A number of the site, and its place among all that were judged, 1 = the largest; None where it isn't known."""

    value: float | None
    place: int | None = None
    of: int | None = None


@dataclass(frozen=True)
class SiteRound:
    """One round of one site."""

    round: int
    verdict: str
    """accepted, rejected, not judged, not sampled, excluded, or dropped with its cause."""
    weight: float | None
    """Share (fraction) in the aggregate."""
    examples: float | None
    norm: Placed
    score: Placed
    """The rule's own score: higher is more suspicious."""
    cosine: Placed
    """To the mean of the others' updates."""
    diagnostics: dict[str, float]
    """The rule's further numbers of this site."""
    others: dict[str, str]
    """Rule to its verdict by the kept diagnostics."""


def timeline(evidence: Evidence, site: int, rejudged: Sequence[Rejudged] = ()) -> list[SiteRound]:
    """All rounds of a site in order. Raises CommandError where the record knows no such site."""
    evidence.require_site(site)
    return [_row(each, site, rejudged) for each in evidence.rounds]


def _row(each: RoundEvidence, site: int, rejudged: Sequence[Rejudged]) -> SiteRound:
    def placed(numbers: dict[int, float]) -> Placed:
        place = rank(numbers, site)
        return Placed(numbers.get(site), *place) if place is not None else Placed(numbers.get(site))

    further = {name: each.diagnostic(name).get(site) for name in each.record.per_client if name not in NOT_SHOWN}
    return SiteRound(
        round=each.record.round,
        verdict=each.verdict(site),
        weight=each.record.weights.get(str(site)),
        examples=each.examples.get(site),
        norm=placed(dict(each.norms)),
        score=placed(dict(each.diagnostic("score"))),
        cosine=placed(dict(each.cosines)),
        diagnostics={name: value for name, value in further.items() if value is not None},
        others={of.rule: of.verdict(each.record.round, site) for of in rejudged},
    )
