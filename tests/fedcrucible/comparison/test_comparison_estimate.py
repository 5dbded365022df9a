"""How long a matrix takes."""

from __future__ import annotations

import pytest

from fedcrucible.comparison.execution.display import Bars, Counting, Lines, in_words
from fedcrucible.comparison.plan.cell import Cell
from fedcrucible.comparison.plan.estimate import Estimate, Running, Timing
from fedcrucible.engines.batch import Finished, RoundNews
from fedcrucible_core.config.preset import load_preset
from fedcrucible_core.records.schema import RunSummary

SMOKE = load_preset("smoke")


def cell(system: str, seed: int = 1, attack: str = "badnets") -> Cell:
    labels = {"attack": attack, "strategy": system, "seed": seed}
    return Cell(labels, {**SMOKE, "strategy": system, "run.seed": seed, "attack.name": attack})


def test_the_closest_finished_run_counts() -> None:
    estimate = Estimate()
    assert estimate.seconds(cell("fedavg")) is None
    estimate.learn(cell("fedavg", 1), 10.0)
    assert estimate.seconds(cell("flame")) == 10.0, "better any than none"
    estimate.learn(cell("flame", 1, "none"), 40.0)
    assert estimate.seconds(cell("flame")) == 40.0, "the same system under another attack"
    estimate.learn(cell("flame", 1), 20.0)
    assert estimate.seconds(cell("flame", 2)) == 20.0, "the same cell with another seed"


def test_the_time_left_is_shared_by_workers_but_no_run_is_split() -> None:
    estimate = Estimate()
    estimate.learn(cell("fedavg"), 10.0)
    waiting = [cell("fedavg", seed) for seed in (2, 3, 4)]
    running = {cell("fedavg", 5): Running(4.0, 0.4)}
    assert estimate.left(waiting, running, workers=1) == pytest.approx(36.0)
    assert estimate.left(waiting, running, workers=2) == pytest.approx(18.0)
    assert estimate.left(waiting, running, workers=50) == pytest.approx(10.0)
    assert estimate.left([], {}, workers=2) == 0.0


def test_before_any_run_is_over_those_that_go_on_are_projected() -> None:
    estimate = Estimate()
    waiting = [cell("fedavg", 2)]
    assert estimate.left(waiting, {cell("fedavg"): Running(3.0, 0.0)}, 1) is None
    assert estimate.left(waiting, {cell("fedavg"): Running(3.0, 0.5)}, 1) == pytest.approx(6.0 + 3.0)
    assert estimate.left([], {cell("fedavg"): Running(30.0, 0.9)}, 1) == pytest.approx(30.0 / 0.9 - 30.0)


def test_timed_batches_grow_with_the_work() -> None:
    timing = Timing()
    settings = {**SMOKE, "strategy": "fedavg", "run.rounds": 10}
    short = timing.seconds(Cell({}, settings))
    assert short > 0
    assert timing.seconds(Cell({}, {**settings, "run.rounds": 20})) > 1.5 * short
    assert timing.seconds(Cell({}, {**settings, "training.local_epochs": 8})) > 1.2 * short
    assert timing.seconds(Cell({}, {**settings, "strategy": "clip-fed"})) > short


def ended(index: int, seconds: float, failed: bool = False) -> Finished:
    summary = RunSummary(strategy="fedavg", attack="badnets", seed=1, rounds=2, ma_percent=80.0, asr_percent=3.5)
    return Finished(index, {}, None if failed else summary, "the disk is full\nTraceback" if failed else "", seconds)


def test_displays_count_what_runs_waits_and_failed(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    cells = [cell("fedavg", seed) for seed in (1, 2, 3)]
    lines.begin(cells, [(cell("flame", 9), 30.0)], workers=1)
    for number, one in enumerate(cells):
        lines.started(one)
        lines.news(one, RoundNews(1, 2, "round 1/2  MA 10.00 %"))
        lines.ended(one, ended(number, 12.0, failed=number == 1))
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "3 runs to do, 1 finished before"
    assert said[1].startswith("[2/4] badnets, fedavg, seed 1: MA 80.00 %, ASR 3.50 % (12 s); about ")
    assert said[2].startswith("[3/4] badnets, fedavg, seed 2: FAILED after 12 s: the disk is full")
    assert "Traceback" not in "".join(said)
    assert said[3] == "[4/4] badnets, fedavg, seed 3: MA 80.00 %, ASR 3.50 % (12 s)"
    assert lines.failed == 1
    assert lines.estimate.seconds(cells[0]) == 12.0, "failures teach nothing"


def test_bars_follow_the_same_events() -> None:
    import io

    from rich.console import Console
    from rich.progress import Progress, TextColumn

    console = Console(file=io.StringIO(), force_terminal=True, width=200)
    with Progress(TextColumn("{task.description} {task.fields[last]}"), console=console) as progress:
        bars = Bars(progress)
        bars.checking(1, 2)
        first, second = cell("fedavg", 1), cell("fedavg", 2)
        bars.begin([first, second], [], workers=2)
        bars.started(first)
        bars.started(second)
        bars.news(first, RoundNews(1, 2, "round 1/2  MA 12.00 %  ASR 3.00 %  1.0 s"))
        assert [task.fields["last"] for task in progress.tasks[1:]] == ["MA 12.00 %  ASR 3.00 %", ""]
        bars.ended(first, ended(0, 5.0))
        bars.ended(second, ended(1, 5.0, failed=True))
        assert len(progress.tasks) == 1
        assert progress.tasks[0].completed == 2
        assert "1 failed" in progress.tasks[0].fields["last"]
    assert isinstance(bars, Counting)


@pytest.mark.parametrize(("seconds", "words"), [(0.2, "1 s"), (75, "75 s"), (600, "10 min"), (7200, "2.0 h")])
def test_durations_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
