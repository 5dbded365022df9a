"""The site matrix: what the model is worth to each site after each round, as the sites themselves measure it.

A hostile site may claim any rate from 0 to 100: the numbers are about what sites say, and touch no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from pydantic import Field

from fedcrucible_core.records.schema import ASR_REFUSED, Line, Percent, Record, RoundRecord

State = Literal["measured", "dropped", "absent", "excluded", "not-asked"]
STATES: tuple[State, ...] = get_args(State)
MEANING: dict[State, str] = {
    "measured": "the site measured the model on test data of its own",
    "dropped": "it was asked, and no valid answer came",
    "absent": "no usable node of it was online",
    "excluded": "it was left out of the round (federation.excluded)",
    "not-asked": "others were drawn (federation.fraction_evaluate)",
}


class SiteRow(Record):
    """One site; its lists have one entry for each of the matrix' rounds."""

    site: int
    """Its partition."""
    name: Line = ""
    """What its node is registered as, or its key's fingerprint; empty where nodes are virtual."""
    state: tuple[State, ...] = ()
    ma_percent: tuple[Percent, ...] = ()
    """Clean accuracy; None where the site didn't measure."""
    asr_percent: tuple[Percent, ...] = ()
    """Attack success; None where it wasn't measured."""
    asr_allowed: bool | None = None
    """Whether the site lets attack success be measured on its data, by its last answer; None without any."""
    examples: int | None = None
    """Test examples, by its last answer."""
    causes: dict[Line, Line] = Field(default_factory=dict)
    """Round -> why its answer was dropped."""
    ma_last_percent: Percent = None
    """Of the last round in which it measured; so is ``asr_last_percent``."""
    asr_last_percent: Percent = None
    last_round: int | None = None


class SiteMatrix(Record):
    """Sites by round (sites.json)."""

    rounds: tuple[int, ...] = ()
    """Rounds after which sites were asked, ascending."""
    repaired: bool = False
    """Whether the last of them is the repaired model, numbered one after the last round of training."""
    sites: tuple[SiteRow, ...] = ()
    """By partition; those that were ever asked, or should have been."""
    worst_site: int | None = None
    """The site with the lowest ``ma_last_percent``, of equal ones the first; None where nobody ever measured."""
    ma_worst_percent: Percent = None
    ma_gap_points: float | None = None
    """Best site minus worst, by ``ma_last_percent``."""
    dropped: int = 0
    """Answers that were dropped, over all rounds."""


def site_matrix(rounds: Sequence[RoundRecord], names: Mapping[int, str] | None = None) -> SiteMatrix:
    """The matrix of a run's rounds; ``names``: what the nodes of the sites are called, by partition."""
    asked = [record for record in rounds if record.client_metrics or "clients.measured" in record.facts]
    heard = {int(site) for r in asked for site in (*r.client_metrics, *r.evaluations_dropped) if site.isdigit()}
    known = sorted(heard | {site for r in asked for site in r.evaluations_absent})
    rows = tuple(_row(site, (names or {}).get(site, ""), asked) for site in known)
    last = {row.site: row.ma_last_percent for row in rows if row.ma_last_percent is not None}
    worst = min(last, key=lambda site: last[site], default=None)
    return SiteMatrix(
        rounds=tuple(record.round for record in asked),
        repaired=bool(asked) and asked[-1].stage == "repair",
        sites=rows,
        worst_site=worst,
        ma_worst_percent=None if worst is None else last[worst],
        ma_gap_points=max(last.values()) - min(last.values()) if last else None,
        dropped=sum(len(record.evaluations_dropped) for record in asked),
    )


def _row(site: int, name: str, asked: Sequence[RoundRecord]) -> SiteRow:
    key = str(site)
    said = [(record, record.client_metrics.get(key, {})) for record in asked]
    last, found = next(((r, found) for r, found in reversed(said) if found), (None, {}))
    return SiteRow(
        site=site,
        name=name,
        state=tuple(_state(site, record) for record in asked),
        ma_percent=tuple(found.get("ma_percent") for _, found in said),
        asr_percent=tuple(found.get("asr_percent") for _, found in said),
        asr_allowed=None if last is None else not found.get(ASR_REFUSED),
        examples=None if last is None else int(found.get("examples", 0.0)),
        causes={str(r.round): r.evaluations_dropped[key] for r in asked if key in r.evaluations_dropped},
        ma_last_percent=found.get("ma_percent"),
        asr_last_percent=found.get("asr_percent"),
        last_round=None if last is None else last.round,
    )


def _state(site: int, record: RoundRecord) -> State:
    if str(site) in record.client_metrics:
        return "measured"
    if str(site) in record.evaluations_dropped:
        return "dropped"
    if site in record.excluded:
        return "excluded"
    return "absent" if site in record.evaluations_absent else "not-asked"
