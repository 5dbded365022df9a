"""Who does best, who can't be compared, and whether the attack was worth defending against.

The one place of these judgements: pages, tables and files say what is said here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fedcrucible_core.reports.statistics.rows import Row
from fedcrucible_core.reports.statistics.spread import Spread

WEAK_ATTACK_PERCENT = 50.0
MARGIN_POINTS = 5.0
SHOWN_DIGITS = 2
SHOWN_SEEDS = 10
OTHER_SEEDS, OTHER_ATTACK = "other seeds", "not the same attack"


@dataclass(frozen=True)
class Best:
    """Systems to mark among those that faced the same attack on the same data; several where they look equal."""

    ma: frozenset[str] = frozenset()
    """Highest mean MA."""
    asr: frozenset[str] = frozenset()
    """Lowest mean ASR among systems whose mean MA is within the margin of the highest."""


def best(ma: Mapping[str, Spread | None], asr: Mapping[str, Spread | None], margin: float = MARGIN_POINTS) -> Best:
    """Mark the best of several systems; of one alone nothing is said.

    A model that classifies nothing right has no backdoor either: so a low ASR counts only at an MA within ``margin``
    points of the best.
    """
    accuracy = {name: round(found.mean, SHOWN_DIGITS) for name, found in ma.items() if found is not None}
    if len(accuracy) < 2:
        return Best()
    highest = max(accuracy.values())
    fair = {
        name: round(found.mean, SHOWN_DIGITS)
        for name, found in asr.items()
        if found is not None and accuracy.get(name, -1.0) >= highest - margin
    }
    lowest = min(fair.values(), default=None)
    return Best(
        frozenset(name for name, value in accuracy.items() if value == highest),
        frozenset(name for name, value in fair.items() if value == lowest),
    )


def is_weak(undefended_asr: Sequence[float]) -> bool | None:
    """Whether an attack is weak (docs/choices.md#weak-attack), by the mean; None where no undefended run is there."""
    if not undefended_asr:
        return None
    return sum(undefended_asr) / len(undefended_asr) < WEAK_ATTACK_PERCENT


@dataclass(frozen=True)
class Standing:
    """What may be said of rows that faced the same attack on the same data."""

    best: Best = Best()
    weak: bool | None = None
    """True where the undefended ASR is below 50 %; None where nobody attacked, or without an undefended run."""
    attacked: bool = False
    """Whether anybody attacked in any of them."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Label of a row with numbers that isn't compared with the others -> why."""
    badges: Mapping[str, str] = field(default_factory=dict)
    """The same in a word or two."""


def standing(rows: Sequence[Row], margin: float = MARGIN_POINTS, apart: Mapping[str, str] | None = None) -> Standing:
    """Judge rows that faced the same attack on the same data.

    Compared are rows without a flaw, over the same seeds: those that most of them have, of equally frequent ones the
    most.  A lucky seed must not win against the mean of several.  ``apart`` are labels of rows that faced something
    else after all, with the settings that say so: controls, listed beside the others.
    """
    apart = apart or {}
    flaws = {row.label: row.flaw for row in rows if row.flaw}
    others = {row.label: apart[row.label] for row in rows if row.label in apart and row.label not in flaws}
    sound = [row for row in rows if row.seeds and row.label not in flaws and row.label not in others]
    usual = _usual_seeds(sound)
    seeds = {row.label: _seeds(row.seeds, usual) for row in sound if row.seeds != usual}
    fair = [row for row in sound if row.seeds == usual]
    plain = [row for row in sound if row.undefended and row.attacked]
    return Standing(
        best({row.label: row.ma for row in fair}, {row.label: row.asr for row in fair}, margin),
        is_weak([asr for row in plain for run in row.runs if (asr := run.summary.asr_percent) is not None]),
        any(row.attacked for row in rows),
        flaws | others | seeds,
        flaws | dict.fromkeys(others, OTHER_ATTACK) | dict.fromkeys(seeds, OTHER_SEEDS),
    )


def _usual_seeds(rows: Sequence[Row]) -> tuple[int, ...]:
    counts = Counter(row.seeds for row in rows)
    return max(counts, key=lambda seeds: (counts[seeds], len(seeds)), default=())


def _seeds(own: Sequence[int], usual: Sequence[int]) -> str:
    return f"seeds {_listed(own)}, where others have {_listed(usual)}"


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds)) if len(seeds) <= SHOWN_SEEDS else f"{len(seeds)} of them"
