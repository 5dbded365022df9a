"""Several runs on one page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from config.load import has_effect
from server_app.record import files
from server_app.record.reader import RecordedRun, Scalar, read
from server_app.report.comparison_charts import curves_chart, sweep_chart, tradeoff_chart
from server_app.report.groups import is_undefended, spread_of
from server_app.report.page import MISSING, duration, rate, write_page
from server_app.report.spread import Spread, spread
from server_app.report.standing import WEAK_ATTACK_PERCENT

SHOWN = ("ma_percent", "asr_percent", "base_rate_percent", "asr_last_mean_percent")
"""Columns of the table, before TPR and FPR."""
NAMED_DIFFERENCES = 3
"""Settings that tell two cells of one label apart are named in the label, so many of them."""


@dataclass(frozen=True)
class ComparisonRow:
    """A record folder, and what to call its strategy (empty = its registered name)."""

    folder: Path
    label: str = ""


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed only."""

    label: str
    """What the reader calls it; where cells would share a label, with the settings that tell them apart."""
    attack: str
    sweep_value: Scalar | None
    runs: list[RecordedRun] = field(default_factory=list)

    def spread_of(self, name: str) -> Spread | None:
        """Mean and spread over runs of a number of the summary; None when no run has it."""
        return spread_of(self, name)

    @property
    def title(self) -> str:
        """Label with the swept value, where there is one."""
        return self.label if self.sweep_value is None else f"{self.label}, {self.sweep_value}"


def render_comparison(rows: Sequence[ComparisonRow], title: str, out_path: Path, *, sweep: str = "") -> Path:
    """Write one page over several records and return its path.

    Runs with the same label, attack and settings are seeds of one cell: mean, standard deviation and Student-t 95 %
    interval; of several runs with one seed the first counts. An attack is marked as weak where plain FedAvg ends below
    50 % ASR under it. ``sweep`` is a configuration key (e.g. ``attack.malicious_fraction``) that gets its own chart.
    Raises ValueError for no rows, FileNotFoundError when a folder holds no record.
    """
    if not rows:
        raise ValueError("a comparison needs at least one record folder")
    out_path = out_path.resolve()
    labelled = [(row.label, read(row.folder, arrays=False)) for row in rows]
    groups, repeated = _groups(labelled, sweep)
    attacks = sorted({group.attack for group in groups})
    weak = _weak_attacks(groups)
    return write_page(
        out_path,
        "comparison",
        title=title,
        subtitle=_subtitle(labelled, attacks),
        verdict=_verdict(groups) if len(attacks) == 1 and not sweep else "",
        warnings=_warnings(groups, weak, repeated),
        table_note=_table_note(groups),
        sweep=sweep,
        groups=[_table_row(group, out_path.parent, (group.attack, group.sweep_value) in weak) for group in groups],
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
        groups.append(Group(_told_apart(name, settings, twins), attack, value, runs))
    return groups, repeated


Settings = frozenset[tuple[str, Scalar]]


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


def _weak_attacks(groups: Sequence[Group]) -> set[tuple[str, Scalar | None]]:
    weak = set()
    for group in groups:
        asr = group.spread_of("asr_percent")
        if asr is not None and asr.mean < WEAK_ATTACK_PERCENT and _is_attacked(group) and _is_undefended(group):
            weak.add((group.attack, group.sweep_value))
    return weak


def _is_attacked(group: Group) -> bool:
    """Whether clients took part and some of them were malicious."""
    return all(run.run.rule and run.run.malicious for run in group.runs)


def _is_undefended(group: Group) -> bool:
    return all(is_undefended(run) for run in group.runs)


def _subtitle(labelled: Sequence[tuple[str, RecordedRun]], attacks: Sequence[str]) -> str:
    data = sorted({record.run.dataset for _, record in labelled if record.run.dataset})
    seeds = sorted({record.run.seed for _, record in labelled})
    shown = ", ".join(map(str, seeds)) if len(seeds) <= 10 else f"{len(seeds)} of them"
    parts = [*data, f"attack {', '.join(attacks)}", f"{len(labelled)} runs", f"seeds {shown}"]
    return " · ".join(parts)


def _verdict(groups: Sequence[Group]) -> str:
    scored = [(g, g.spread_of("ma_percent"), g.spread_of("asr_percent")) for g in groups if _is_attacked(g)]
    known = [(g, ma, asr) for g, ma, asr in scored if ma is not None and asr is not None]
    plain = next(((ma, asr) for g, ma, asr in known if _is_undefended(g)), None)
    defended = [item for item in known if not _is_undefended(item[0])]
    if plain is None or not defended:
        return ""
    inputs = known[0][0].runs[0].run.attack_inputs
    best, ma, asr = min(defended, key=lambda item: (item[2].mean, -item[1].mean))
    return (
        f"Undefended, the attack succeeds on {plain[1].mean:.1f} % of {inputs} at {plain[0].mean:.1f} % clean "
        f"accuracy. The lowest attack success: {asr.mean:.1f} % ({best.label}), at {ma.mean:.1f} % clean accuracy."
    )


def _warnings(groups: Sequence[Group], weak: set[tuple[str, Scalar | None]], repeated: int) -> list[str]:
    found = [
        f"Weak attack: {attack}{'' if value is None else f' at {value}'} reaches less than "
        f"{WEAK_ATTACK_PERCENT:.0f} % ASR even undefended, so low numbers of defences say little."
        for attack, value in sorted(weak, key=str)
    ]
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
    caught = [run.summary.detection for run in group.runs if run.summary.detection is not None]
    judged = [c for c in caught if c.true_positives + c.false_positives]
    seconds = group.spread_of("seconds_total")
    needs = {what for run in group.runs for kinds in run.run.knowledge.values() for what in kinds}
    return {
        "label": group.label,
        "attack": group.attack,
        "weak": weak,
        "sweep_value": group.sweep_value,
        "cells": [
            *[_cell(group.spread_of(name)) for name in SHOWN],
            _cell(spread([c.tpr_percent for c in judged if c.tpr_percent is not None])),
            _cell(spread([c.fpr_percent for c in judged if c.fpr_percent is not None])),
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
        "address": _address(run.folder, base),
    }


def _cell(value: Spread | None) -> dict[str, str]:
    if value is None:
        return {"mean": MISSING, "interval": ""}
    if value.deviation is None or value.low is None or value.high is None:
        return {"mean": f"{value.mean:.1f}", "interval": ""}
    interval = f"{max(0.0, value.low):.1f} to {min(100.0, value.high):.1f}"
    return {"mean": f"{value.mean:.1f} ± {value.deviation:.1f}", "interval": interval}


def _address(folder: Path, base: Path) -> str:
    report = folder / files.REPORT
    return quote(Path(os.path.relpath(report, base)).as_posix()) if report.is_file() else ""
