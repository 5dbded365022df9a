"""The tables beside the main one: over the run, who was rejected, cost, tests.  results.md and the page share them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fedcrucible_core.config.values import value_text
from fedcrucible_core.reports.pages.grid import MISSING, Grid, mean_interval
from fedcrucible_core.reports.statistics.measures import MEASURES, measured
from fedcrucible_core.reports.statistics.paired import FEW_PAIRS
from fedcrucible_core.reports.statistics.reference_tests import TESTED, ReferenceTest
from fedcrucible_core.reports.statistics.spots import Spot, labels_of
from fedcrucible_core.reports.statistics.spread import Spread, spread

CURVES = ("ma_last_rounds", "asr_last_rounds", "asr_max", "rounds_asr_above_20", "asr_after_stop")
DETECTION = ("tpr", "fpr", "auroc", "attacker_weight")
COST = ("server_seconds_per_round", "client_seconds_per_round", "seconds_total", "peak_memory_mb", "mb_down", "mb_up")
DETECTION_NOTE = (
    "Pooled over rounds. TPR, FPR: malicious and honest replies given weight 0. AUROC: of the rule's own scores, "
    "ranked within each round; 0.5 is chance. Attackers' weight: their share of all aggregation weight while the "
    "attack was on."
)


@dataclass(frozen=True)
class Layout:
    """What tables call their axes, and how many seeds a complete row has."""

    system_axis: str = "strategy"
    column_axis: str = ""
    seeds: int = 1


@dataclass(frozen=True)
class Part:
    """A table with a title and what one must know to read it."""

    title: str
    note: str
    grid: Grid

    @property
    def anchor(self) -> str:
        """Name of its section."""
        return "".join(char if char.isalnum() else "-" for char in self.title.lower())


def parts(
    spots: Sequence[Spot], layout: Layout, tests: Sequence[ReferenceTest] = (), cost_note: str = ""
) -> Iterator[Part]:
    """All tables that have any number."""
    over = _by_row(spots, layout, CURVES)
    if over is not None:
        yield Part("Over the run", _curve_note(spots), over)
    rejected = _by_row(spots, layout, DETECTION)
    if rejected is not None:
        yield Part("Who was rejected", DETECTION_NOTE, rejected)
    cost = _cost(spots, layout)
    if cost is not None:
        yield Part("Cost", f"{COST_NOTE} {cost_note}".rstrip(), cost)
    if tests:
        yield Part("Paired tests", _tests_note(tests), _tests_grid(spots, layout, tests))


COST_NOTE = (
    "Means over all runs of a system. Server: sampling, checks, aggregation and server phase; clients: until the last "
    "reply is in. Peak: memory of the process that holds the server, in-process all clients and the test set too."
)


def _keys(spots: Sequence[Spot], layout: Layout) -> list[str]:
    columns = [layout.column_axis or "attack"] if any(spot.column is not None for spot in spots) else []
    blocks = list(dict.fromkeys(name for spot in spots for name in spot.block))
    return [*blocks, *columns, layout.system_axis]


def _place(spot: Spot) -> list[str]:
    """What stands in the columns of ``_keys``, the system apart."""
    return [value_text(value) for value in (*spot.block.values(), *(() if spot.column is None else (spot.column,)))]


def _heading(column: str) -> str:
    number = MEASURES[column]
    return f"{number.title} {number.unit}".rstrip() if number.unit != "%" or column in DETECTION else number.title


def _by_row(spots: Sequence[Spot], layout: Layout, columns: Sequence[str]) -> Grid | None:
    rows = [(spot, row, [row.spread_of(column) for column in columns]) for spot in spots for row in spot.rows]
    known = [i for i in range(len(columns)) if any(values[i] is not None for _, _, values in rows)]
    if not known:
        return None
    body = tuple(
        (*_place(spot), row.label, *(_mean(values[i], layout.seeds) for i in known)) for spot, row, values in rows
    )
    keys = _keys(spots, layout)
    return Grid((*keys, *(_heading(columns[i]) for i in known)), body, len(keys))


def _mean(found: Spread | None, seeds: int) -> str:
    return MISSING if found is None else mean_interval(found, seeds)


def _cost(spots: Sequence[Spot], layout: Layout) -> Grid | None:
    """One row per system, over all spots; a run that stands in several of them counts once."""
    rows: dict[str, list[Spread | None]] = {}
    for label in labels_of(spots):
        runs = {run.folder: run for spot in spots for row in spot.rows if row.label == label for run in row.runs}
        rows[label] = [
            spread([value for run in runs.values() if (value := measured(run, column)) is not None]) for column in COST
        ]
    known = [i for i in range(len(COST)) if any(values[i] is not None for values in rows.values())]
    if not known:
        return None
    body = []
    for label, values in rows.items():
        shown = [MISSING if (found := values[i]) is None else f"{found.mean:.2f}" for i in known]
        body.append((label, *shown))
    return Grid((layout.system_axis, *(_heading(COST[i]) for i in known)), tuple(body), 1)


def _curve_note(spots: Sequence[Spot]) -> str:
    runs = [run for spot in spots for row in spot.rows for run in row.runs]
    counts = sorted({run.summary.last_rounds for run in runs})
    last = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}" if counts else "no"
    return (
        f"The means of the last rounds cover the last {last} evaluated rounds (ten at most). The highest ASR is sought "
        "from the attack's first round on. Rounds are evaluated rounds."
    )


def _tests_note(tests: Sequence[ReferenceTest]) -> str:
    pairs = max(test.result.pairs for test in tests)
    reference = tests[0].reference
    text = (
        f"Each system against {reference}, paired by seed: difference in points (positive: more than "
        f"{reference}), p of the two-sided paired t test and of Wilcoxon's signed-rank test."
    )
    if pairs < 2:
        return text + " With one pair of runs there is nothing to test."
    if pairs < FEW_PAIRS:
        least = max(tests, key=lambda test: test.result.pairs).result.smallest_wilcoxon_p
        text += (
            f" With {pairs} pairs Wilcoxon's p can't be less than {least:.4g}, so it can never reach 5 %; "
            "the t test can, but rests on normal differences, which so few pairs can't show."
        )
    count = len(tests)
    return text + (
        f" {count} comparisons, not corrected for their number: by chance alone about {0.05 * count:.1f} of the t "
        "tests come out below 5 %."
    )


def _tests_grid(spots: Sequence[Spot], layout: Layout, tests: Sequence[ReferenceTest]) -> Grid:
    """One row per system and spot; MA and ASR side by side."""
    measures = [measure for measure in TESTED if any(test.measure == measure for test in tests)]
    body = []
    for spot in spots:
        for row in spot.rows:
            here = {test.measure: test for test in tests if test.spot is spot and test.system == row.label}
            if not here:
                continue
            cells = [*_place(spot), row.label, str(next(iter(here.values())).result.pairs)]
            for measure in measures:
                test = here.get(measure)
                cells += [MISSING] * 3 if test is None else _result(test)
            body.append(tuple(cells))
    heads = [*_keys(spots, layout), "pairs"]
    for measure in measures:
        heads += [f"{MEASURES[measure].title} difference", "p, t", "p, Wilcoxon"]
    return Grid(tuple(heads), tuple(body), len(heads) - 1 - 3 * len(measures))


def _result(test: ReferenceTest) -> list[str]:
    found = test.result
    return [f"{found.difference.mean:+.2f}", _p(found.t_p), _p(found.wilcoxon_p)]


def _p(value: float | None) -> str:
    if value is None:
        return MISSING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
