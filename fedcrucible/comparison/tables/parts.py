"""The tables beside the main one: over the run, who was rejected, cost, tests.  results.md and the page share them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from fedcrucible.comparison.plan.cell import value_text
from fedcrucible.comparison.tables.outcome import Outcome
from fedcrucible.comparison.tables.tables import MISSING, Grid, wide
from fedcrucible_core.reports.statistics.paired import FEW_PAIRS

CURVES = {
    "ma_last_rounds": "MA, mean of last rounds", "asr_last_rounds": "ASR, mean of last rounds",
    "asr_max": "highest ASR", "rounds_asr_above_20": "rounds with ASR > 20 %", "asr_after_stop": "ASR after its end",
}  # fmt: skip
DETECTION = {
    "tpr": "TPR %", "fpr": "FPR %", "auroc": "AUROC of scores", "attacker_weight": "attackers' weight %",
}  # fmt: skip
COST = {
    "server_seconds_per_round": "server s/round", "client_seconds_per_round": "clients s/round",
    "seconds_total": "total s", "peak_memory_mb": "peak MB", "mb_down": "MB down", "mb_up": "MB up",
}  # fmt: skip


@dataclass(frozen=True)
class Part:
    """A table with a title and what one must know to read it."""

    title: str
    note: str
    grid: Grid


def parts(outcome: Outcome) -> Iterator[Part]:
    """All tables that have any number."""
    over = _means_by_spot(outcome, CURVES)
    if over is not None:
        yield Part("Over the run", _curve_note(outcome), over)
    rejected = _means_by_spot(outcome, DETECTION)
    if rejected is not None:
        yield Part("Who was rejected", DETECTION_NOTE, rejected)
    cost = _cost(outcome)
    if cost is not None:
        yield Part("Cost", _cost_note(outcome), cost)
    if outcome.tests:
        yield Part("Paired tests", _tests_note(outcome), _tests_grid(outcome))


DETECTION_NOTE = (
    "Pooled over rounds. TPR, FPR: malicious and honest replies given weight 0. AUROC: of the rule's own scores, "
    "ranked within each round; 0.5 is chance. Attackers' weight: their share of all aggregation weight while the "
    "attack was on."
)


def _keys(outcome: Outcome) -> list[str]:
    columns = [outcome.matrix.column_axis] if outcome.matrix.column_axis else []
    return [*outcome.matrix.block_axes, *columns, outcome.matrix.system_axis]


def _known(frame: pd.DataFrame, values: dict[str, str]) -> dict[str, str]:
    return {name: head for name, head in values.items() if name in frame and frame[name].notna().any()}


def _means_by_spot(outcome: Outcome, values: dict[str, str]) -> Grid | None:
    shown = _known(outcome.frame, values)
    return wide(outcome.frame, _keys(outcome), shown, outcome.usual_seeds) if shown else None


def _cost(outcome: Outcome) -> Grid | None:
    shown, system = _known(outcome.frame, COST), outcome.matrix.system_axis
    if not shown:
        return None
    runs = outcome.frame.drop_duplicates(["config_hash", system])
    found = runs.groupby(system, sort=False)[list(shown)].mean()
    rows = [
        (value_text(key), *(MISSING if pd.isna(value) else f"{value:.2f}" for value in numbers))
        for key, numbers in zip(found.index, found.itertuples(index=False), strict=True)
    ]
    return Grid((system, *shown.values()), tuple(rows), 1)


def _curve_note(outcome: Outcome) -> str:
    counts = sorted({int(count) for count in outcome.frame["last_rounds"].dropna()})
    last = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}" if counts else "no"
    return (
        f"The means of the last rounds cover the last {last} evaluated rounds (ten at most). The highest ASR is sought "
        "from the attack's first round on. Rounds are evaluated rounds."
    )


def _cost_note(outcome: Outcome) -> str:
    text = (
        "Means over all runs of a system. Server: sampling, checks, aggregation and server phase; clients: until the "
        "last reply is in. Peak: memory of the process that holds the server"
    )
    text += ", in-process all clients and the test images too." if outcome.engine == "in-process" else "."
    if outcome.jobs > 1:
        text += f" {outcome.jobs} runs went on at the same time, so seconds are longer than those of a run alone."
    return text


def _tests_note(outcome: Outcome) -> str:
    pairs = max(test.result.pairs for test in outcome.tests)
    text = (
        f"Each system against {outcome.reference}, paired by seed: difference in points (positive: more than "
        f"{outcome.reference}), p of the two-sided paired t test and of Wilcoxon's signed-rank test."
    )
    if pairs < 2:
        return text + " With one pair of runs there is nothing to test."
    if pairs < FEW_PAIRS:
        text += (
            f" With {pairs} pairs Wilcoxon's p can't be less than {2.0 / 2.0**pairs:.4g}, so it can never reach 5 %; "
            "the t test can, but rests on normal differences, which so few pairs can't show."
        )
    count = len(outcome.tests)
    return text + (
        f" {count} comparisons, not corrected for their number: by chance alone about {0.05 * count:.1f} of the t "
        "tests come out below 5 %."
    )


def _tests_grid(outcome: Outcome) -> Grid:
    """One row per system and spot; MA and ASR side by side."""
    columns = [outcome.matrix.column_axis] if outcome.matrix.column_axis else []
    keys = [*outcome.matrix.block_axes, *columns, outcome.matrix.system_axis]
    measures = list(dict.fromkeys(test.measure for test in outcome.tests))
    found = {(id(test.spot), test.system, test.measure): test for test in outcome.tests}
    body = []
    for spot, system in dict.fromkeys((id(test.spot), test.system) for test in outcome.tests):
        here = [found.get((spot, system, measure)) for measure in measures]
        first = next(test for test in here if test is not None)
        row = [value_text(value) for value in first.spot.block.values()]
        row += [first.spot.column_text] if columns else []
        row += [system, str(first.result.pairs)]
        for test in here:
            if test is None:
                row += [MISSING] * 3
            else:
                result = test.result
                row += [f"{result.difference.mean:+.2f}", _p(result.t_p), _p(result.wilcoxon_p)]
        body.append(tuple(row))
    heads = [*keys, "pairs"]
    for measure in measures:
        heads += [f"{measure.upper()} difference", "p, t", "p, Wilcoxon"]
    return Grid(tuple(heads), tuple(body), len(keys))


def _p(value: float | None) -> str:
    if value is None:
        return MISSING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
