"""What is said of a matrix in sentences; who is compared with whom is judged by ``standing``."""

from __future__ import annotations

from collections.abc import Sequence

from fedcrucible_core.reports.statistics.rows import Row
from fedcrucible_core.reports.statistics.spots import Spot, first_of
from fedcrucible_core.reports.statistics.standing import MARGIN_POINTS, WEAK_ATTACK_PERCENT

MOST_ASIDE = 6
"""Rows that are named for not being compared."""


def verdict(spots: Sequence[Spot]) -> str:
    """What the defences come to, where exactly one attack is faced both with and without one."""
    several = len([spot for spot in spots if spot.attacked]) > 1
    told = [text for spot in spots if (text := _verdict_of(spot, several))]
    return told[0] if len(told) == 1 else ""


def _verdict_of(spot: Spot, several: bool) -> str:
    fair = [row for row in spot.rows if row.attacked and not spot.aside(row) and row.asr is not None]
    plain = next((row for row in fair if row.undefended), None)
    defended = [row for row in fair if not row.undefended]
    if plain is None or not defended:
        return ""
    text = (
        f"Undefended, {plain.runs[0].run.attack if several else 'the attack'} succeeds on {_asr(plain):.1f} % of "
        f"{plain.runs[0].run.attack_inputs} at {_ma(plain):.1f} % clean accuracy."
    )
    lowest = min(defended, key=lambda row: (_asr(row), -_ma(row)))
    highest = max(_ma(row) for row in fair)
    kept = [row for row in defended if _ma(row) >= highest - spot.margin]
    within = f"within {spot.margin:g} points of the highest accuracy"
    if not kept:
        return f"{text} No defence stays {within}. {_price(lowest, plain)}"
    best = min(kept, key=lambda row: (_asr(row), -_ma(row)))
    text += f" The lowest attack success {within}: {_said(best, plain)}."
    return text if best is lowest else f"{text} {_price(lowest, plain)}"


def _said(row: Row, plain: Row) -> str:
    change = _ma(row) - _ma(plain)
    return (
        f"{_asr(row):.1f} % ({row.label}), at {_ma(row):.1f} % clean accuracy, {change:+.1f} points against undefended"
    )


def _price(lowest: Row, plain: Row) -> str:
    return f"Lower only at the price of accuracy: {_said(lowest, plain)}."


def _ma(row: Row) -> float:
    return row.ma.mean if row.ma is not None else float("nan")


def _asr(row: Row) -> float:
    return row.asr.mean if row.asr is not None else float("nan")


def legend(spots: Sequence[Spot], seeds: int) -> str:
    """How to read the main tables; ``seeds`` is what a complete row has."""
    how = "one seed" if seeds == 1 else f"mean ± half of Student's 95 % interval over {seeds} seeds"
    margin = spots[0].margin if spots else MARGIN_POINTS
    text = (
        f"MA / ASR in percent of the last evaluation, {how}. Best: the highest MA of a column, and its lowest ASR "
        f"among systems within {margin:g} points of that MA."
    )
    if any(spot.weak for spot in spots):
        text += " Weak attack: its undefended ASR is below 50 %, so that a low ASR of a defence says little."
    unknown = [spot for spot in spots if spot.attacked and spot.weak is None]
    if any(row.asr is not None for spot in unknown for row in spot.rows):
        text += " Where no undefended run stands beside an attack, whether it is weak isn't known."
    if any(row.flaw for spot in spots for row in spot.rows):
        text += (
            " Dead: the model's outputs aren't finite; unchanged: the final model is the initial one; no clients: "
            "no update of a client ever entered it; never attacked: the attack was to take place and didn't. "
            "Such cells are listed and never best."
        )
    return text


def weak_attacks(spots: Sequence[Spot]) -> list[str]:
    """Attacks that fail undefended."""
    found = []
    for spot in spots:
        if spot.weak:
            plain = [row for row in spot.rows if row.undefended and row.attacked and not row.flaw]
            found.append(
                f"Weak attack: {spot.heading or plain[0].runs[0].run.attack} reaches less than "
                f"{WEAK_ATTACK_PERCENT:.0f} % ASR even undefended ({', '.join(row.label for row in plain)}), so low "
                "numbers of defences say little."
            )
    return found


def not_compared(spots: Sequence[Spot]) -> list[str]:
    """Rows that are listed only, with the reasons; one sentence, or none."""
    aside = [
        f"{', '.join(part for part in (spot.title if len(spots) > 1 else '', label) if part)} ({why})"
        for spot in spots
        for label, why in spot.standing.left_out.items()
    ]
    if not aside:
        return []
    return [f"Listed, but not compared with others and never marked best: {first_of(aside, MOST_ASIDE)}."]


def unfinished(spots: Sequence[Spot]) -> list[str]:
    """Whether runs are missing their end."""
    if all(run.finished for spot in spots for row in spot.rows for run in row.runs):
        return []
    return ["Some runs have no summary: they still go on, or ended early."]
