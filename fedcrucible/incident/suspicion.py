"""Which sites look guilty, and since when: from what they sent alone, never from who really attacked.

Of every round and every number that grows with suspicion (``evidence.MEANINGS``) a site's deviation is
(its number - the others' median) / (1.4826 x the others' median absolute deviation + half that median), cut at 5 either
way.  The mean of its two largest (one number alone may be chance), and for being rejected the normal deviate of the
share that was (alone among five 0.84, with most of them nothing), is what the site stands out by in the round, less the
median of that over all sites.  A site's suspicion is the largest, over all stretches of rounds in which it took part,
of their sum over the square root of their number: a site that stands out a little for long counts as one that does by
much and briefly.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from fedcrucible.incident.evidence import Evidence, Numbers, RoundEvidence, known

MOST = 5.0
"""Deviations that one round counts at most."""
FLAGGED = 4.0
"""Suspicion from which a site stands out."""
LONGEST = 1500
"""Rounds whose stretches are all tried; of longer runs all that end with the last round."""
REJECTED = "rejected"


@dataclass(frozen=True)
class Suspect:
    """One site, and what speaks against it."""

    site: int
    suspicion: float
    """0 for a site that never stands out."""
    since: int | None
    """First round of the stretch that speaks most against it; None where nothing does."""
    until: int | None
    """Its last round."""
    before: float | None
    """Mean deviation in the rounds before; None where there were none: then nobody knows it otherwise."""
    during: float
    """Mean deviation in the stretch."""
    reasons: tuple[tuple[str, int], ...]
    """What it stood out by most, and in how many of the stretch's rounds, most frequent first."""
    judged: int
    """Rounds in which its reply was judged."""
    rejected: int
    dropped: int
    """Rounds in which its reply never reached the rule."""

    @property
    def stands_out(self) -> bool:
        """Whether it is worth a look."""
        return self.suspicion >= FLAGGED


def suspects(evidence: Evidence) -> list[Suspect]:
    """All sites, the most suspicious first; of equal ones those whose replies were dropped more often."""
    series: dict[int, list[tuple[int, float, str]]] = {site: [] for site in evidence.sites}
    for each in evidence.rounds:
        for site, (deviation, reason) in deviations(each).items():
            series[site].append((each.record.round, deviation, reason))
    found = [_suspect(site, rounds, evidence) for site, rounds in series.items()]
    return sorted(found, key=lambda suspect: (-suspect.suspicion, -suspect.dropped, suspect.site))


def deviations(each: RoundEvidence) -> dict[int, tuple[float, str]]:
    """Of every judged site what it stands out by in a round, in deviations, and by which number."""
    by_name = {name: _against_the_others(numbers) for name, numbers in each.signals.items()}
    rejected = _rejections(each)
    found: dict[int, tuple[float, str]] = {}
    for site in each.judged:
        ordered = sorted(((numbers[site], name) for name, numbers in by_name.items() if site in numbers), reverse=True)
        out = rejected.get(site, 0.0)
        most = statistics.fmean(value for value, _ in ordered[:2]) if ordered else 0.0
        found[site] = most + out, REJECTED if not ordered or out > ordered[0][0] else ordered[0][1]
    middle = statistics.median([value for value, _ in found.values()]) if found else 0.0
    return {site: (value - middle, name) for site, (value, name) in found.items()}


def _against_the_others(numbers: Numbers) -> Mapping[int, float]:
    values = dict(known(numbers))
    if len(values) < 3:
        return {}
    found = {}
    for site, value in values.items():
        others = [other for who, other in values.items() if who != site]
        middle = statistics.median(others)
        spread = 1.4826 * statistics.median([abs(other - middle) for other in others]) + abs(middle) / 2
        gap = value - middle
        found[site] = max(-MOST, min(MOST, gap / spread)) if spread > 0 else math.copysign(MOST, gap) if gap else 0.0
    return found


def _rejections(each: RoundEvidence) -> Mapping[int, float]:
    """Of those who were rejected how unusual that is; nothing where most are."""
    judged, rejected = each.judged, each.record.rejected
    share = len(rejected) / len(judged) if judged else 1.0
    if not 0.0 < share < 0.5:
        return {}
    return dict.fromkeys(rejected, NormalDist().inv_cdf(1.0 - share))


def _suspect(site: int, rounds: list[tuple[int, float, str]], evidence: Evidence) -> Suspect:
    values = np.array([deviation for _, deviation, _ in rounds])
    first, last, suspicion = _stretch(values)
    inside = rounds[first:last]
    return Suspect(
        site=site,
        suspicion=suspicion,
        since=inside[0][0] if inside else None,
        until=inside[-1][0] if inside else None,
        before=float(values[:first].mean()) if inside and first else None,
        during=float(values[first:last].mean()) if inside else 0.0,
        reasons=tuple(Counter(reason for _, deviation, reason in inside if deviation > 0).most_common()),
        judged=sum(site in each.judged for each in evidence.rounds),
        rejected=sum(site in each.record.rejected for each in evidence.rounds),
        dropped=sum(str(site) in each.record.dropped for each in evidence.rounds),
    )


def _stretch(values: np.ndarray) -> tuple[int, int, float]:
    """First, one past the last, and the sum over the root of the length of the stretch where that is largest."""
    best, sums = (0, 0, 0.0), np.concatenate([[0.0], np.cumsum(values)])
    ends = range(1, len(values) + 1) if len(values) <= LONGEST else [len(values)]
    for end in ends:
        found = (sums[end] - sums[:end]) / np.sqrt(np.arange(end, 0, -1))
        start = int(found.argmax())
        if found[start] > best[2]:
            best = (start, end, float(found[start]))
    return best
