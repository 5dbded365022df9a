"""What a comparison page says in sentences; who is compared with whom is judged by ``standing``."""

from __future__ import annotations

from collections.abc import Sequence

from fedcrucible_core.records.reader import RecordedRun
from fedcrucible_core.reports.statistics.comparison_groups import Group
from fedcrucible_core.reports.statistics.standing import MARGIN_POINTS, WEAK_ATTACK_PERCENT, standing

MA, ASR = "ma_percent", "asr_percent"


def subtitle(labelled: Sequence[tuple[str, RecordedRun]], attacks: Sequence[str]) -> str:
    """Data sets, attacks, runs and seeds in one line."""
    data = sorted({record.run.dataset for _, record in labelled if record.run.dataset})
    seeds = sorted({record.run.seed for _, record in labelled})
    shown = ", ".join(map(str, seeds)) if len(seeds) <= 10 else f"{len(seeds)} of them"
    parts = [*data, f"attack {', '.join(attacks)}", f"{len(labelled)} runs", f"seeds {shown}"]
    return " · ".join(parts)


def verdict(spots: Sequence[Sequence[Group]]) -> str:
    """What the defences come to, where exactly one attack is faced both with and without one."""
    several = len({group.attack for spot in spots for group in spot if group.attacked}) > 1
    told = [text for spot in spots if (text := _verdict_of([group for group in spot if group.attacked], several))]
    return told[0] if len(told) == 1 else ""


def _verdict_of(groups: Sequence[Group], several: bool) -> str:
    judged = standing(groups)
    fair = [group for group in groups if group.title not in judged.left_out and group.spread_of(ASR) is not None]
    plain = next((group for group in fair if group.undefended), None)
    defended = [group for group in fair if not group.undefended]
    if plain is None or not defended:
        return ""
    text = (
        f"Undefended, {plain.attack if several else 'the attack'} succeeds on {_mean(plain, ASR):.1f} % of "
        f"{plain.runs[0].run.attack_inputs} at "
        f"{_mean(plain, MA):.1f} % clean accuracy."
    )
    lowest = min(defended, key=lambda group: (_mean(group, ASR), -_mean(group, MA)))
    highest = max(_mean(group, MA) for group in fair)
    kept = [group for group in defended if _mean(group, MA) >= highest - MARGIN_POINTS]
    within = f"within {MARGIN_POINTS:g} points of the highest accuracy"
    if not kept:
        return f"{text} No defence stays {within}. {_price(lowest, plain)}"
    best = min(kept, key=lambda group: (_mean(group, ASR), -_mean(group, MA)))
    text += f" The lowest attack success {within}: {_said(best, plain)}."
    return text if best is lowest else f"{text} {_price(lowest, plain)}"


def _said(group: Group, plain: Group) -> str:
    change = _mean(group, MA) - _mean(plain, MA)
    return (
        f"{_mean(group, ASR):.1f} % ({group.title}), at {_mean(group, MA):.1f} % clean accuracy, {change:+.1f} points "
        "against undefended"
    )


def _price(lowest: Group, plain: Group) -> str:
    return f"Lower only at the price of accuracy: {_said(lowest, plain)}."


def _mean(group: Group, name: str) -> float:
    found = group.spread_of(name)
    return float("nan") if found is None else found.mean


def warnings(groups: Sequence[Group], spots: Sequence[Sequence[Group]], repeated: int) -> list[str]:
    """What a reader must not overlook: weak attacks, cells that aren't compared, runs left out or unfinished."""
    found = []
    several = len({group.attack for group in groups}) > 1
    for spot in spots:
        judged = standing(spot)
        if judged.weak:
            plain = ", ".join(group.title for group in spot if group.undefended and group.attacked and not group.flaw)
            found.append(
                f"Weak attack: {spot[0].attack} reaches less than {WEAK_ATTACK_PERCENT:.0f} % ASR even undefended "
                f"({plain}), so low numbers of defences say little."
            )
        aside = [f"{group.title} ({judged.left_out[group.title]})" for group in spot if group.title in judged.left_out]
        if aside:
            under = f" under {spot[0].attack}" if several else ""
            found.append(f"Listed, but not compared with others{under}: {'; '.join(aside)}.")
    if repeated:
        found.append(f"{repeated} runs repeat the settings and the seed of another one, and are left out.")
    if any(not run.finished for group in groups for run in group.runs):
        found.append("Some runs have no summary: they still go on, or ended early.")
    return found


def table_note(groups: Sequence[Group]) -> str:
    """How to read the table."""
    most = max(len(group.runs) for group in groups)
    if most == 1:
        return "One run per cell: differences below about a point may be the seed's. Rates are of the last evaluation."
    return (
        "Mean ± standard deviation over seeds, below it the Student-t 95 % interval of the mean. Rates are of the last "
        "evaluation."
    )
