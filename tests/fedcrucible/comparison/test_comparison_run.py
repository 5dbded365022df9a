"""Matrices that really run: results, resuming, failures, interrupts."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from fedcrucible.comparison import session
from fedcrucible.comparison.plan.cell import Cell
from fedcrucible.comparison.plan.request import Options
from fedcrucible.comparison.session import MatrixInterrupted, Request, compare, preview
from fedcrucible.comparison.tables.outcome import Outcome
from fedcrucible.engines.batch import Finished, RoundNews, Watch, run_batch
from fedcrucible_core.config.values import Scalar

GRID = ("compare", "-p", "smoke", "run.rounds=1", "-s", "fedavg,flame", "--seeds", "1,2", "-j", "2")
ROOT = Path(__file__).resolve().parents[3]


def request_for(folder: Path, *settings: str, jobs: int = 2, **options: object) -> Request:
    chosen: dict[str, object] = {"strategies": "fedavg,flame", "seeds": "1,2"} | options
    options_made = Options(preset="smoke", settings=("run.rounds=1", *settings), **chosen)  # type: ignore[arg-type]
    return Request(options_made, jobs, out=folder, quiet=True)


def records(folder: Path) -> dict[str, int]:
    """Finished records with the time of their last write."""
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("cells/*/summary.json")}


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished matrix of two systems and two seeds."""
    folder = tmp_path_factory.mktemp("grid") / "out"
    compare(request_for(folder))
    return folder


def test_every_file_is_there_and_says_the_same(grid: Path) -> None:
    frame = pd.read_csv(grid / "results.csv")
    assert len(frame) == 4
    assert set(frame["strategy"]) == {"fedavg", "flame"}
    assert frame["ma"].between(0, 100).all()
    assert frame["seed"].tolist() == [1, 1, 2, 2]
    again = pd.read_parquet(grid / "results.parquet")
    assert list(again.columns) == list(frame.columns)
    assert again["ma"].tolist() == pytest.approx(frame["ma"].tolist())
    markdown = (grid / "results.md").read_text(encoding="utf-8")
    assert f"{frame[frame['strategy'] == 'flame']['ma'].mean():.2f} ±" in markdown
    assert "Paired tests" in markdown
    assert "\\toprule" in (grid / "results.tex").read_text(encoding="utf-8")
    assert "FedCrucible comparison" in (grid / "report.html").read_text(encoding="utf-8")
    assert not (grid / "failures.json").exists()


def test_parameters_stand_beside_the_numbers(grid: Path) -> None:
    frame = pd.read_csv(grid / "results.csv")
    assert frame["config_hash"].nunique() == 4
    assert frame["source_sha256"].str.len().eq(64).all()
    assert frame["parameters_sha256"].str.len().eq(64).all()
    assert frame["packages"].str.contains("torch==").all()
    assert all((Path(folder) / "config.toml").is_file() for folder in frame["record"])
    manifest = json.loads((grid / "manifest.json").read_bytes())
    assert manifest["command"]
    assert manifest["environment"]["packages"]["torch"]
    cells = manifest["cells"]
    assert [cell["config_hash"] for cell in cells] == frame["config_hash"].tolist()
    assert manifest["settings"]["run.rounds"] == 1
    assert {cell["settings"]["strategy"] for cell in cells} == {"fedavg", "flame"}


def test_a_worker_ends_in_the_same_model_as_this_process(grid: Path) -> None:
    from fedcrucible.engines.batch import run_settings
    from fedcrucible_core.config.preset import load_preset

    settings: dict[str, Scalar] = load_preset("smoke") | {
        "run.rounds": 1, "strategy": "flame", "run.seed": 2, "output.report": False, "output.dir": str(grid / "here"),
    }  # fmt: skip
    frame = pd.read_csv(grid / "results.csv")
    recorded = frame[(frame["strategy"] == "flame") & (frame["seed"] == 2)]["parameters_sha256"].item()
    assert run_settings(settings).parameters_sha256 == recorded


def test_what_is_finished_is_never_run_again_also_in_a_larger_matrix(grid: Path, fedcrucible) -> None:
    before = records(grid)
    again, _ = compare(request_for(grid))
    assert again.results.ran == 0
    assert records(grid) == before
    dry = preview(request_for(grid, strategies="fedavg,flame,clip-fed-filter"))
    assert [cell.labels["strategy"] for cell in dry.todo] == ["clip-fed-filter"] * 2
    assert len(dry.finished) == 4
    assert dry.measured
    result = fedcrucible(*GRID, "--out", grid, "--json", "-j", "0")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert result.stdout.count("\n") == 1
    assert (found["ran"], found["runs"], found["failed"]) == (0, 4, [])
    assert [row["system"] for row in found["rows"]] == ["fedavg", "flame"]
    assert found["rows"][1]["tests"]["ma"]["pairs"] == 2
    assert found["rows"][0]["MA"]["low"] <= found["rows"][0]["MA"]["mean"]
    assert all(Path(file).is_file() for file in found["files"].values())


def test_the_terminal_shows_one_line_per_system_and_where_things_lie(grid: Path, fedcrucible) -> None:
    result = fedcrucible(*GRID, "--out", grid)
    assert result.exit_code == 0, result.output
    assert "fedavg" in result.stdout
    assert " ± " in result.stdout
    assert f"report: {grid / 'report.html'}" in result.stdout
    assert "0 of 4 runs made now" in result.stdout


def test_a_dry_run_lists_cells_and_writes_nothing(fedcrucible, tmp_path: Path) -> None:
    result = fedcrucible(*GRID, "--fractions", "0,0.25", "--out", tmp_path / "out", "--dry-run", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert len(found["todo"]) == found["cells"] == 8
    assert found["estimated_seconds"] > 0
    assert found["estimate_from"] == "timed batches"
    assert not (tmp_path / "out").exists()
    text = fedcrucible(*GRID, "--out", tmp_path / "out", "--dry-run").stdout
    assert text.count("to do ") == 4
    assert "estimate: " in text


def test_cells_that_differ_in_labels_only_run_once(tmp_path: Path) -> None:
    """Nobody malicious: poisoning more or less makes no difference."""
    outcome, folder = compare(
        request_for(
            tmp_path,
            "adversary.malicious_fraction=0",
            strategies="fedavg",
            seeds="1",
            axes=["poison.ratio=0.1,0.9"],
        )
    )
    assert outcome.results.ran == 1
    assert len(records(folder)) == 1
    assert outcome.frame["ma"].nunique() == 1
    assert len(outcome.frame) == 2
    assert [spot.attacked for spot in outcome.spots] == [False, False]
    assert [spot.weak for spot in outcome.spots] == [None, None]


@pytest.fixture(scope="module")
def with_a_failure(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """One system's images are damaged; that shows only when it runs."""
    from fedcrucible_core.learning.datasets import names

    folder = tmp_path_factory.mktemp("failing") / "out"
    images = folder.parent / "images"
    for name in names.FASHION:
        (images / name).mkdir(parents=True)
        for number in range(5):
            (images / name / f"{number}.png").write_bytes(b"no picture")
    request = request_for(
        folder, "synthetic.source=folder", f"synthetic.folder.path={images}", strategies="fedavg,fine-tune",
        seeds="1",
    )  # fmt: skip
    outcome, _ = compare(request)
    return folder, outcome


def test_a_failed_cell_is_named_with_its_cause_and_stops_no_other(with_a_failure, fedcrucible) -> None:
    folder, outcome = with_a_failure
    assert outcome.results.ran == 2
    assert len(records(folder)) == 1
    ((cell, cause),) = outcome.failed
    assert cell.labels["strategy"] == "fine-tune"
    assert "not a readable picture" in cause
    (entry,) = json.loads((folder / "failures.json").read_bytes())
    assert entry["labels"]["strategy"] == "fine-tune"
    assert "Traceback" in entry["details"]
    frame = pd.read_csv(folder / "results.csv").set_index("strategy")
    assert frame.loc["fine-tune", "error"] == cause
    assert pd.isna(frame.loc["fine-tune", "ma"])
    assert "no number" in (folder / "results.md").read_text(encoding="utf-8")
    images = f"synthetic.folder.path={folder.parent / 'images'}"
    arguments = ("compare", "-p", "smoke", "run.rounds=1", "synthetic.source=folder", images, "-s", "fedavg,fine-tune",
                 "--seeds", "1", "-o", folder)  # fmt: skip
    result = fedcrucible(*arguments, "--json", "--quiet")
    assert result.exit_code == 1
    assert "1 runs failed" in result.stderr
    found = json.loads(result.stdout)
    assert [failure["cause"] for failure in found["failed"]] == [cause]
    assert found["ran"] == 1, "the failed one is tried again, the other isn't"
    tabulated = fedcrucible(*arguments, "-j", "0", "--json")
    assert tabulated.exit_code == 0
    assert [failure["cause"] for failure in json.loads(tabulated.stdout)["failed"]] == [cause]


def test_a_failure_is_forgotten_when_the_cell_succeeds(tmp_path: Path) -> None:
    from fedcrucible.comparison.execution.store import Failures
    from fedcrucible_core.config.preset import load_preset

    cell = Cell({"seed": 1}, {**load_preset("smoke"), "strategy": "fedavg"})
    Failures(tmp_path / "failures.json").add(cell, "out of memory\nTraceback", 3.0)
    again = Failures(tmp_path / "failures.json")
    assert again.cause(cell) == "out of memory"
    again.forget(cell)
    assert not (tmp_path / "failures.json").exists()


def test_impossible_cells_stop_everything_or_are_skipped(fedcrucible, tmp_path: Path) -> None:
    arguments = ("compare", "-p", "smoke", "run.rounds=1", "-s", "fedavg", "--seeds", "1", "--axis",
                 "federation.min_replies=2,9", "-o", tmp_path / "out", "-j", "1")  # fmt: skip
    result = fedcrucible(*arguments)
    assert result.exit_code == 2
    assert "federation.min_replies 9" in result.stderr
    assert "at most the 4 clients sampled" in result.stderr
    assert "--skip-impossible" in result.stderr
    assert not (tmp_path / "out").exists()
    skipped = fedcrucible(*arguments, "--skip-impossible", "--json")
    assert skipped.exit_code == 0, skipped.output
    found = json.loads(skipped.stdout)
    assert found["runs"] == 1
    assert "min_replies" in found["impossible"][0]["cause"]
    assert "impossible: federation.min_replies 9" in (tmp_path / "out" / "results.md").read_text(encoding="utf-8")


@dataclass
class Breaking:
    """An engine that is interrupted after some runs."""

    after: int
    workers: int = 1
    seen: list[Mapping[str, Scalar]] = field(default_factory=list)

    def run(self, batch: Sequence[Mapping[str, Scalar]], watch: Watch) -> Iterator[Finished]:
        for how in run_batch(batch[: self.after], 2, watch=watch):
            self.seen.append(how.settings)
            yield how
        raise KeyboardInterrupt


def test_after_an_interrupt_nothing_is_redone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "engine", lambda *_: Breaking(after=2))
    with pytest.raises(MatrixInterrupted, match="2 of 4 runs are finished"):
        compare(request_for(tmp_path / "out"))
    monkeypatch.undo()
    before = records(tmp_path / "out")
    assert len(before) == 2
    outcome, folder = compare(request_for(tmp_path / "out"))
    assert outcome.results.ran == 2
    after = records(folder)
    assert len(after) == 4
    assert before.items() <= after.items(), "records of the first start are untouched"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_all_workers_and_says_how_to_go_on(
    tmp_path: Path, how: signal.Signals, request: pytest.FixtureRequest
) -> None:
    """As a shell does it: the whole process group is interrupted while runs go on."""
    arguments = ["compare", "-p", "smoke", "run.rounds=200", "-s", "fedavg,flame", "--seeds", "1", "-j", "2"]
    program = f"from fedcrucible.cli import app; app({[*arguments, '--out', str(tmp_path)]!r})"
    mark = {**os.environ, "COMPARISON_TEST": str(tmp_path)}
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, env=mark, stderr=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True, start_new_session=True,
                               preexec_fn=with_default_interrupt)  # fmt: skip
    request.addfinalizer(partial(end_group, process.pid))
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("cells/*/metrics.jsonl"))) < 2:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert len(with_mark(str(tmp_path))) >= 3
    if how is signal.SIGINT:
        os.killpg(process.pid, how)
    else:
        process.send_signal(how)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert out == ""
    assert "interrupted\n0 of 2 runs are finished; the same command goes on from there" in errors
    assert "Traceback" not in errors
    deadline = time.monotonic() + 20
    while with_mark(str(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert with_mark(str(tmp_path)) == []


def with_default_interrupt() -> None:
    """What a shell starts in the background ignores SIGINT, and so would all that it starts; tests may run there."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def end_group(group: int) -> None:
    """Leave nothing behind, however the test ended."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def with_mark(value: str) -> list[int]:
    """Processes that were started with our mark in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if f"COMPARISON_TEST={value}".encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


class Killing(Watch):
    """Kills the worker of one run from outside, as the system does when memory runs out."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.killed = False

    def news(self, index: int, news: RoundNews) -> None:
        import multiprocessing

        if index == self.index and not self.killed:
            self.killed = True
            (victim,) = [child for child in multiprocessing.active_children() if child.name == f"run-{index}"]
            victim.kill()


def test_a_worker_that_dies_is_a_failure_of_its_run_alone(tmp_path: Path) -> None:
    from fedcrucible_core.config.preset import load_preset

    settings = load_preset("smoke") | {"strategy": "fedavg", "output.report": False, "output.dir": str(tmp_path)}
    watch = Killing(0)
    ends = {how.index: how for how in run_batch([settings | {"run.rounds": 50}, settings], 2, watch=watch)}
    assert watch.killed
    assert ends[0].summary is None
    assert "SIGKILL" in ends[0].cause
    assert "memory" in ends[0].cause
    assert ends[1].summary is not None


def test_two_comparisons_do_not_write_to_one_folder(tmp_path: Path, fedcrucible) -> None:
    from fedcrucible.comparison.execution.store import only_one

    with only_one(tmp_path):
        result = fedcrucible(*GRID, "--out", tmp_path)
    assert result.exit_code == 1
    assert "another comparison is writing" in result.stderr


def test_a_cell_that_another_run_writes_is_not_cleared_away(tmp_path: Path) -> None:
    from fedcrucible.comparison.execution.store import Store
    from fedcrucible.comparison.plan.cell import Cell
    from fedcrucible.failures import CommandError
    from fedcrucible_core.records.lock import only_writer

    cell = Cell({"seed": 1}, {"strategy": "fedavg"})
    folder = tmp_path / cell.name
    with only_writer(folder):
        (folder / "metrics.jsonl").write_text("{}")
        with pytest.raises(CommandError, match="another run is writing"):
            Store(tmp_path).settings(cell)
    assert (folder / "metrics.jsonl").exists()
    Store(tmp_path).settings(cell)
    assert not folder.exists()


def test_cells_can_go_through_flwr_run(tmp_path: Path, fedcrucible, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SuperLink is replaced here; tests/engines has the real one."""
    from fedcrucible.engines.batch import run_settings

    class NoSuperLink:
        def __enter__(self) -> NoSuperLink:
            return self

        def __exit__(self, *_: object) -> None:
            return None

    def simulated(settings: Mapping[str, Scalar], *, superlink: object, on_line: object) -> object:
        on_line("round 1/1  MA 10 %")  # type: ignore[operator]
        if settings["run.seed"] == 2:
            raise RuntimeError("Ray fell over\na long log")
        return run_settings(settings)

    monkeypatch.setattr("fedcrucible.engines.flower.superlink.LocalSuperLink", NoSuperLink)
    monkeypatch.setattr("fedcrucible.engines.flower.simulation.run_simulation", simulated)
    result = fedcrucible("compare", "-p", "smoke", "run.rounds=1", "-s", "fedavg", "--seeds", "1,2", "--engine", "flwr",
                         "-o", tmp_path, "--json")  # fmt: skip
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert found["failed"] == [{"cell": "fedavg, seed 2", "cause": "Ray fell over"}]
    assert len(list(tmp_path.glob("cells-flwr/*/summary.json"))) == 1
