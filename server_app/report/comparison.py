"""Several runs on one page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from config.load import has_effect
from server_app.record import files
from server_app.record.reader import RecordedRun, Scalar, read
from server_app.report.cells import Cell
from server_app.report.comparison_charts import curves_chart, sweep_chart, tradeoff_chart
from server_app.report.page import MISSING, duration, rate, write_page
from server_app.report.spread import Spread
from server_app.report.standing import MARGIN_POINTS, WEAK_ATTACK_PERCENT, standing

MA, ASR = "ma_percent", "asr_percent"
SHOWN = (MA, ASR, "base_rate_percent", "asr_last_mean_percent")
"""Columns of the table, before TPR and FPR."""
DEFENCE = ("strategy", "defense.", "purifier.", "synthetic.", "guide.")
"""Keys in which cells that faced the same attack on the same data may differ."""
Settings = frozenset[tuple[str, Scalar]]
Faced = tuple[str, str, Settings]
"""Attack, data set, and all settings but the defence's."""
NAMED_DIFFERENCES = 3
"""Settings that tell two cells of one label apart are named in the label, so many of them."""


@dataclass(frozen=True)
class ComparisonRow:
    """A record folder, and what to call its strategy (empty = its registered name)."""

    folder: Path
    label: str = ""


@dataclass(frozen=True, kw_only=True)
class Group(Cell):
    """Runs that differ in their seed only; where cells would share a label, it has the settings that differ."""

    attack: str
    sweep_value: Scalar | None
    faced: Faced
    """All that isn't the defence's: cells that share it faced the same attack on the same data."""

    @property
    def title(self) -> str:
        """Label with the swept value, where there is one."""
        return self.label if self.sweep_value is None else f"{self.label}, {self.sweep_value}"


def render_comparison(rows: Sequence[ComparisonRow], title: str, out_path: Path, *, sweep: str = "") -> Path:
    """Write one page over several records and return its path.

    Runs with the same label, attack and settings are seeds of one cell: mean, standard deviation and Student-t 95 %
    interval; of several runs with one seed the first counts. Cells are judged (``standing``) among those that share
    all settings but the defence's: an attack is weak there where plain FedAvg ends below 50 % ASR. ``sweep`` is a
    configuration key (e.g. ``attack.malicious_fraction``) that gets its own chart.
    Raises ValueError for no rows, FileNotFoundError when a folder holds no record.
    """
    if not rows:
        raise ValueError("a comparison needs at least one record folder")
    out_path = out_path.resolve()
    labelled = [(row.label, read(row.folder, arrays=False)) for row in rows]
    groups, repeated = _groups(labelled, sweep)
    attacks = sorted({group.attack for group in groups})
    spots = _spots(groups)
    weak = [id(group) for spot in spots if standing(spot).weak for group in spot]
    return write_page(
        out_path,
        "comparison",
        title=title,
        subtitle=_subtitle(labelled, attacks),
        verdict="" if sweep else _verdict(spots),
        warnings=_warnings(groups, spots, repeated),
        table_note=_table_note(groups),
        sweep=sweep,
        groups=[_table_row(group, out_path.parent, id(group) in weak) for group in groups],
        tradeoff=tradeoff_chart(groups),
        swept=sweep_chart(groups, sweep) if sweep else None,
        curves=curves_chart(groups),
        runs=[_run_row(group, run, out_path.parent) for group in groups for run in group.runs],
    )


def _groups(labelled: Sequence[tuple[str, RecordedRun]], sweep: str) -> tuple[list[Group], int]:
    """Cells in the order of their first run, and how many runs were left out because their seed was there already."""
    cells: dict[tuple[str, str, Settings], list[RecordedRun]] = {}
    repeated = 0
    for label, record in labelled:
        name = label or record.run.strategy
        runs = cells.setdefault((name, record.run.attack, _settings(record)), [])
        if any(run.run.seed == record.run.seed for run in runs):
            repeated += 1
        else:
            runs.append(record)
    groups = []
    for (name, attack, settings), runs in cells.items():
        value = runs[0].config.get(sweep) if sweep else None
        twins = [
            other
            for (label, under, other), (first, *_) in cells.items()
            if (label, under) == (name, attack)
            and other != settings
            and (not sweep or first.config.get(sweep) == value)
        ]
        groups.append(
            Group(
                label=_told_apart(name, settings, twins),
                runs=tuple(runs),
                attack=attack,
                sweep_value=value,
                faced=(attack, runs[0].run.dataset, _without_defence(settings)),
            )
        )
    return groups, repeated


def _spots(groups: Sequence[Group]) -> list[list[Group]]:
    """Groups that faced the same, in the order of their first."""
    spots: dict[Faced, list[Group]] = {}
    for group in groups:
        spots.setdefault(group.faced, []).append(group)
    return list(spots.values())


def _without_defence(settings: Settings) -> Settings:
    return frozenset((key, value) for key, value in settings if not key.startswith(DEFENCE))


def _settings(record: RecordedRun) -> Settings:
    settings = record.config
    return frozenset((k, v) for k, v in settings.items() if has_effect(k, settings) and k != "run.seed")


def _told_apart(name: str, settings: Settings, twins: Sequence[Settings]) -> str:
    """The name, with the settings in which other cells of that name differ."""
    mine = dict(settings)
    keys = sorted({key for other in twins for key, _ in settings ^ other})
    if not keys:
        return name
    named = [f"{key} = {mine.get(key, 'unset')}" for key in keys[:NAMED_DIFFERENCES]]
    more = f", and {len(keys) - NAMED_DIFFERENCES} more" if len(keys) > NAMED_DIFFERENCES else ""
    return f"{name} ({', '.join(named)}{more})"


def _subtitle(labelled: Sequence[tuple[str, RecordedRun]], attacks: Sequence[str]) -> str:
    data = sorted({record.run.dataset for _, record in labelled if record.run.dataset})
    seeds = sorted({record.run.seed for _, record in labelled})
    shown = ", ".join(map(str, seeds)) if len(seeds) <= 10 else f"{len(seeds)} of them"
    parts = [*data, f"attack {', '.join(attacks)}", f"{len(labelled)} runs", f"seeds {shown}"]
    return " · ".join(parts)


def _verdict(spots: Sequence[Sequence[Group]]) -> str:
    """What the defences come to, where exactly one attack is faced both with and without one."""
    told = [text for spot in spots if (text := _verdict_of([group for group in spot if group.attacked]))]
    return told[0] if len(told) == 1 else ""


def _verdict_of(groups: Sequence[Group]) -> str:
    judged = standing(groups)
    fair = [group for group in groups if group.title not in judged.left_out and group.spread_of(ASR) is not None]
    plain = next((group for group in fair if group.undefended), None)
    defended = [group for group in fair if not group.undefended]
    if plain is None or not defended:
        return ""
    text = (
        f"Undefended, the attack succeeds on {_mean(plain, ASR):.1f} % of {plain.runs[0].run.attack_inputs} at "
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


def _warnings(groups: Sequence[Group], spots: Sequence[Sequence[Group]], repeated: int) -> list[str]:
    found = []
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
            found.append(f"Listed, but not compared with others: {'; '.join(aside)}.")
    if repeated:
        found.append(f"{repeated} runs repeat the settings and the seed of another one, and are left out.")
    if any(not run.finished for group in groups for run in group.runs):
        found.append("Some runs have no summary: they still go on, or ended early.")
    return found


def _table_note(groups: Sequence[Group]) -> str:
    most = max(len(group.runs) for group in groups)
    if most == 1:
        return "One run per cell: differences below about a point may be the seed's. Rates are of the last evaluation."
    return (
        "Mean ± standard deviation over seeds, below it the Student-t 95 % interval of the mean. Rates are of the last "
        "evaluation."
    )


def _table_row(group: Group, base: Path, weak: bool) -> dict[str, object]:
    seconds = group.spread_of("seconds_total")
    needs = {what for run in group.runs for kinds in run.run.knowledge.values() for what in kinds}
    return {
        "label": group.label,
        "attack": group.attack,
        "weak": weak,
        "flaw": group.flaw,
        "sweep_value": group.sweep_value,
        "cells": [
            *[_cell(group.spread_of(name), len(group.runs)) for name in SHOWN],
            _cell(group.detection_of("tpr_percent"), len(group.runs)),
            _cell(group.detection_of("fpr_percent"), len(group.runs)),
        ],
        "seconds": MISSING if seconds is None else duration(seconds.mean),
        "needs": "; ".join(sorted(needs)) or MISSING,
        "links": [{"seed": run.run.seed, "address": _address(run.folder, base)} for run in group.runs],
    }


def _run_row(group: Group, run: RecordedRun, base: Path) -> dict[str, object]:
    return {
        "label": group.title,
        "attack": group.attack,
        "seed": run.run.seed,
        "ma": rate(run.summary.ma_percent),
        "asr": rate(run.summary.asr_percent),
        "digest": run.summary.parameters_sha256[:12],
        "folder": run.folder.name,
        "notes": "; ".join(run.notes),
        "address": _address(run.folder, base),
    }


def _cell(value: Spread | None, runs: int) -> dict[str, str]:
    if value is None:
        return {"mean": MISSING, "interval": ""}
    some = "" if value.count == runs else f" ({value.count} of {runs} runs)"
    if value.deviation is None or value.low is None or value.high is None:
        return {"mean": f"{value.mean:.1f}{some}", "interval": ""}
    interval = f"{max(0.0, value.low):.1f} to {min(100.0, value.high):.1f}"
    return {"mean": f"{value.mean:.1f} ± {value.deviation:.1f}{some}", "interval": interval}


def _address(folder: Path, base: Path) -> str:
    report = folder / files.REPORT
    return quote(Path(os.path.relpath(report, base)).as_posix()) if report.is_file() else ""
