"""Heat maps of MA and ASR: a line per system, a column per spot."""

from __future__ import annotations

from collections.abc import Sequence

from fedcrucible_core.records.schema import RATES
from fedcrucible_core.reports.pages.page import MISSING
from fedcrucible_core.reports.statistics.measures import MEASURES
from fedcrucible_core.reports.statistics.rows import Row
from fedcrucible_core.reports.statistics.spots import Spot, labels_of
from fedcrucible_core.reports.statistics.spread import Spread

NARROWEST = 5.0
"""Least span (points) of the tint of MA: differences that seeds make must not look like more."""
SIDE_BY_SIDE = 40
"""Two heat maps stand beside each other up to so many characters of columns."""
WEAK_BADGE, CELL = 11, 7
"""Characters that a column needs at least: for the badge of a weak attack, for a number with its interval."""
DEEPEST = 58.0
"""Largest share (percent) of the tone in a heat map's cell: text must stay readable on it."""


def heats(block: Sequence[Spot]) -> dict[str, object]:
    """Both maps of a block of spots, as the template wants them."""
    known = [row.ma.mean for spot in block for row in spot.rows if row.ma is not None and not spot.badge(row)]
    high = max(known, default=100.0)
    low = max(0.0, min([*known, high - NARROWEST]))
    labels = labels_of(block)
    return {
        "title": block[0].block_title,
        "wide": sum(_width(spot) for spot in block) > SIDE_BY_SIDE,
        "columns": [{"name": spot.heading or "all", "weak": spot.weak} for spot in block],
        "maps": [
            _map("ma_percent", f"tinted from {low:.1f} to {high:.1f}",
                 [(label, [_ma_cell(spot, label, low, high) for spot in block]) for label in labels]),
            _map("asr_percent", "tinted from 0 to 100",
                 [(label, [_asr_cell(spot, label) for spot in block]) for label in labels]),
        ],
    }  # fmt: skip


def _map(field: str, scale: str, rows: Sequence[tuple[str, Sequence[dict[str, object]]]]) -> dict[str, object]:
    number = RATES[field]
    return {
        "name": f"{number.title}: {number.meaning} ({number.unit})",
        "tone": number.tone,
        "scale": scale,
        "rows": rows,
    }


def _width(spot: Spot) -> int:
    """Characters that a column needs."""
    return max(len(spot.heading), WEAK_BADGE if spot.weak else CELL, *(len(spot.badge(row)) for row in spot.rows))


def _ma_cell(spot: Spot, label: str, low: float, high: float) -> dict[str, object]:
    row = spot.row(label)
    if row is None or row.ma is None:
        return _empty(row)
    share = (row.ma.mean - low) / (high - low) if high > low else 0.5
    return _cell(row.ma, share, label in spot.best.ma, _paper(row, "ma"), spot.badge(row))


def _asr_cell(spot: Spot, label: str) -> dict[str, object]:
    row = spot.row(label)
    if row is None or row.asr is None:
        return _empty(row)
    return _cell(row.asr, row.asr.mean / 100.0, label in spot.best.asr, _paper(row, "asr"), spot.badge(row))


def _paper(row: Row, column: str) -> str:
    """What a paper prints of this number, or of another that is better in the same direction, which is then named."""
    better = MEASURES[column].better
    return "; ".join(
        f"paper {one.text(digits=1)}" if one.is_of(column) else one.sentence
        for one in row.paper
        if one.said and MEASURES[one.column].better == better
    )


def _cell(found: Spread, share: float, best: bool, paper: str, badge: str) -> dict[str, object]:
    return {
        "text": f"{found.mean:.1f}",
        "half": "" if found.high is None else f"± {found.high - found.mean:.1f}",
        "mix": f"{DEEPEST * min(1.0, max(0.0, share)):.0f}%",
        "best": best,
        "paper": paper,
        "flaw": badge,
    }


def _empty(row: Row | None) -> dict[str, object]:
    text = "no run" if row is not None and not row.runs else MISSING
    return {"text": text, "half": "", "mix": "0%", "best": False, "paper": "", "flaw": ""}
