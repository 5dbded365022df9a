"""Points with an engine of their own: both engines at the same time, failures, interrupts, and what they leave."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fedcrucible.comparison import session
from fedcrucible.comparison.execution.engines import BACKGROUND, InProcess, ThroughFlower, engine
from fedcrucible.comparison.plan.cell import FLWR, IN_PROCESS
from fedcrucible.comparison.plan.request import Options, matrix
from fedcrucible.comparison.session import MatrixInterrupted, Request, compare
from fedcrucible.engines.batch import Finished, Watch, run_settings
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.values import Scalar

FILE = """
preset = "smoke"
run.rounds = 1
[compare]
seeds = [1]
numbers = ["ma", "fpr"]
[compare.axes.strategy]
control = { strategy = "fedavg", adversary.malicious_fraction = 0.0 }
attacked = { strategy = "fedavg", engine = "flwr" }
defended = { strategy = "flame", engine = "flwr" }
"""


@pytest.fixture
def preset(tmp_path: Path) -> str:
    path = tmp_path / "mixed.toml"
    path.write_text(FILE)
    return str(path)


@dataclass
class Fake:
    """Runs here; what goes through it, and in which thread, is written down."""

    log: list[tuple[str, str]]
    problem: BaseException | None = None
    workers: int = 1
    threads: set[str] = field(default_factory=set)

    def run(self, batch: Sequence[Mapping[str, Scalar]], watch: Watch) -> Iterator[Finished]:
        for index, settings in enumerate(batch):
            if self.problem is not None:
                raise self.problem
            watch.started(index)
            self.threads.add(threading.current_thread().name)
            self.log.append((str(settings["output.dir"]), str(settings["strategy"])))
            yield Finished(index, settings, run_settings(settings), "", 1.0)


def use(monkeypatch: pytest.MonkeyPatch, engines: Mapping[str, object]) -> None:
    monkeypatch.setattr(session, "engine", lambda name, *_: engines[name])


def test_a_point_says_what_carries_it(preset: str) -> None:
    cells = matrix(Options(preset)).cells()
    assert [cell.engine for cell in cells] == [IN_PROCESS, FLWR, FLWR]
    assert all("engine" not in cell.settings for cell in cells)
    assert [cell.engine for cell in matrix(Options(preset, engine=FLWR)).cells()] == [FLWR] * 3


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('engine = "flwr"', 'engine = "ray"'),
        ('numbers = ["ma", "fpr"]', 'numbers = ["ma", "fdr"]'),
    ],
)
def test_unknown_engines_and_numbers_are_refused(preset: str, line: str, message: str) -> None:
    path = Path(preset)
    path.write_text(path.read_text().replace(line, message))
    with pytest.raises(ConfigError, match="allowed: "):
        matrix(Options(preset))


def test_each_engine_has_its_cells_and_its_records(
    preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log: list[tuple[str, str]] = []
    front, behind = Fake(log), Fake(log)
    use(monkeypatch, {FLWR: front, IN_PROCESS: behind})
    outcome, folder = compare(Request(Options(preset), out=tmp_path / "out", quiet=True))
    assert sorted(log) == [
        (str(folder / "cells"), "fedavg"),
        (str(folder / "cells-flwr"), "fedavg"),
        (str(folder / "cells-flwr"), "flame"),
    ]  # fmt: skip
    assert front.threads == {threading.main_thread().name}, "Ctrl-C reaches no other thread"
    assert behind.threads == {IN_PROCESS}
    assert outcome.failed == []
    assert outcome.engine == "in-process and flwr"
    assert outcome.frame["engine"].tolist() == [IN_PROCESS, FLWR, FLWR]
    again, _ = compare(Request(Options(preset), out=folder, quiet=True))
    assert again.results.ran == 0


def test_a_control_is_listed_and_not_compared(preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[tuple[str, str]] = []
    use(monkeypatch, {FLWR: Fake(log), IN_PROCESS: Fake(log)})
    outcome, folder = compare(Request(Options(preset), out=tmp_path / "out", quiet=True))
    (spot,) = outcome.spots
    assert dict(spot.standing.left_out) == {"control": "adversary.malicious_fraction = 0"}
    assert "control" not in spot.best.ma | spot.best.asr
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert '<span class="badge warn">not the same attack</span>' in page


def test_the_terminal_shows_the_numbers_that_the_file_lists(
    preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fedcrucible.comparison.tables.result_table import print_outcome

    log: list[tuple[str, str]] = []
    use(monkeypatch, {FLWR: Fake(log), IN_PROCESS: Fake(log)})
    print_outcome(*compare(Request(Options(preset), out=tmp_path / "out", quiet=True)))
    head = next(line for line in capsys.readouterr().out.splitlines() if "strategy" in line)
    assert head.split() == ["strategy", "MA", "FPR"]


def test_a_problem_beside_flower_is_raised(preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[tuple[str, str]] = []
    use(monkeypatch, {FLWR: Fake(log), IN_PROCESS: Fake(log, RuntimeError("no space left"))})
    with pytest.raises(RuntimeError, match="no space left"):
        compare(Request(Options(preset), out=tmp_path / "out", quiet=True))
    assert len(log) == 2, "Flower's runs went on"


def test_ctrl_c_ends_the_workers_beside_flower(preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The in-process run would take minutes; it is ended at once, and so is its process."""
    import multiprocessing

    class Pressed(Fake):
        def run(self, batch: Sequence[Mapping[str, Scalar]], watch: Watch) -> Iterator[Finished]:
            while not [child for child in multiprocessing.active_children() if child.name == "run-0"]:
                time.sleep(0.05)
            raise KeyboardInterrupt
            yield

    use(monkeypatch, {FLWR: Pressed([]), IN_PROCESS: InProcess(1, tmp_path / "logs")})
    settings = {"training.local_epochs": 500}
    with pytest.raises(MatrixInterrupted, match="0 of 3 runs are finished"):
        compare(Request(Options(preset, settings), out=tmp_path / "out", quiet=True))
    assert not [child for child in multiprocessing.active_children() if child.name == "run-0"]
    assert not [thread for thread in threading.enumerate() if thread.name == IN_PROCESS]


def test_workers_beside_flower_have_a_low_priority(tmp_path: Path) -> None:
    beside, alone = (engine(IN_PROCESS, 2, tmp_path, beside=beside) for beside in (True, False))
    assert isinstance(beside, InProcess)
    assert isinstance(alone, InProcess)
    assert (beside.niceness, alone.niceness) == (BACKGROUND, 0)
    assert isinstance(engine(FLWR, 2, tmp_path, beside=True), ThroughFlower)
    with pytest.raises(ConfigError, match="--jobs"):
        engine(FLWR, 2, tmp_path)


def test_values_need_no_text() -> None:
    given = Options(
        "smoke", {"run.rounds": 3}, ["fedavg", "flame"], seeds=[4], axes={"attack.malicious_ids": ["0,1", "2"]}
    )
    written = Options("smoke", ["run.rounds=3"], "fedavg,flame", seeds="4", axes=['attack.malicious_ids=["0,1", "2"]'])
    assert [cell.settings for cell in matrix(given).cells()] == [cell.settings for cell in matrix(written).cells()]
