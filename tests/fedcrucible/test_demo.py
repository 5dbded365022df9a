"""The demo's table and page, with Flower's engine replaced by the in-process one (tests/engines has the real one)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedcrucible.cli import app
from fedcrucible.comparison.plan.request import Options, matrix
from fedcrucible.engines.in_process import run_in_process
from fedcrucible_core.config.load import load
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.records.schema import RunSummary
from server_app.plan import Plan


def labels() -> list[str]:
    """The demo's rows."""
    return [str(point.label) for point in matrix(Options("demo-table")).system_points]


class NoSuperLink:
    def __enter__(self) -> NoSuperLink:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def use_engine(monkeypatch: pytest.MonkeyPatch, engine: Callable[..., RunSummary]) -> None:
    monkeypatch.setattr("fedcrucible.engines.flower.superlink.LocalSuperLink", NoSuperLink)
    monkeypatch.setattr("fedcrucible.engines.flower.simulation.run_simulation", engine)


def in_process(settings: Mapping[str, Scalar], *, superlink: object, on_line: Callable[[str], None]) -> RunSummary:
    on_line("round 1/2  MA 10 %")
    return run_in_process(Plan.make(load(settings)))


def test_every_row_has_numbers_and_a_page(runs_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_engine(monkeypatch, in_process)
    result = CliRunner().invoke(app, ["demo", "--preset", "smoke", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert list(found["rows"]) == labels()
    for label, row in found["rows"].items():
        assert 0.0 <= row["MA"] <= 100.0, label
        assert (Path(row["record"]) / "report.html").is_file(), label
    assert {row["strategy"] for row in found["rows"].values()} >= {"fedavg", "flame", "clip-fed", "server-data-only"}
    page = Path(found["report"]).read_text(encoding="utf-8")
    assert all(label in page for label in labels())


def test_a_row_that_fails_is_named_and_the_others_stay(runs_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(settings: Mapping[str, Scalar], **more: object) -> RunSummary:
        if settings["strategy"] == "flame":
            raise RuntimeError("Ray fell over\na long log")
        return in_process(settings, **more)  # type: ignore[arg-type]

    use_engine(monkeypatch, broken)
    monkeypatch.setattr("fedcrucible.comparison.execution.pages.Pages.draw", lambda *_: None)  # the other test's matter
    result = CliRunner().invoke(app, ["demo", "--preset", "smoke", "--json"])
    assert result.exit_code == 1
    assert "FLAME, attacked: Ray fell over" in result.stderr
    assert "a long log" not in result.stderr
    rows = json.loads(result.stdout)["rows"]
    assert rows["FLAME, attacked"] == {"error": "Ray fell over"}
    assert rows["CLIP-Fed, attacked"]["MA"] is not None


def test_the_second_act_has_four_rows_and_shows_the_poisoned_samples(runs_folder: Path) -> None:
    small = ["task.train_samples=300", "task.test_samples=60", "federation.clients=3", "run.rounds=1", "model.name=cnn",
             "synthetic.per_class=6", "fm_fl.pretrain_epochs=1", "fm_fl.kd_epochs=1", "training.local_epochs=1",
             "guide.model=tiny", "fm_fl.batch_size=16"]  # fmt: skip
    result = CliRunner().invoke(app, ["demo", "fm-fl", *small, "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert list(found["rows"]) == [str(p.label) for p in matrix(Options("demo-fm-fl-table")).system_points]
    assert found["rows"]["attack-free"]["attack"] == "af-fl"
    page = Path(found["report"]).read_text(encoding="utf-8")
    assert 'id="synthetic"' in page
    assert '<span class="badge warn">poisoned</span>' in page
    assert '<span class="badge">dropped</span>' in page


def test_the_third_act_has_four_rows_and_says_how_well_the_split_found_the_poison(runs_folder: Path) -> None:
    small = ["task.train_samples=300", "task.test_samples=60", "run.rounds=1", "model.resnet8.width=4",
             "splitter.cgd-entropy.models=1", "splitter.cgd-entropy.epochs=1", "repair.cgd-unlearn.epochs=1",
             "repair.fine-pruning.epochs=1", "repair.fine-pruning.clean_samples=40"]  # fmt: skip
    result = CliRunner().invoke(app, ["demo", "cgd", *small, "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert list(found["rows"]) == ["undefended", "fine-pruning", "EP", "CGD"]
    summary = json.loads((Path(found["rows"]["CGD"]["record"]) / "summary.json").read_text(encoding="utf-8"))
    assert 0 <= summary["split"]["recall_percent"] <= 100
    page = Path(found["report"]).read_text(encoding="utf-8")
    assert all(label in page for label in found["rows"])


def test_an_act_that_is_not_there_is_refused() -> None:
    result = CliRunner().invoke(app, ["demo", "fmfl"])
    assert result.exit_code == 2
    assert "did you mean 'fm-fl'" in result.output
