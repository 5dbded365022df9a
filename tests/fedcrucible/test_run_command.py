"""``fedcrucible run``: result, progress, record, failures."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.fedcrucible.conftest import TINY


def test_json_is_one_object_on_stdout_and_progress_goes_to_stderr(fedcrucible, runs_folder) -> None:
    result = fedcrucible("run", *TINY, "run.seed=3", "--json")

    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    assert result.stdout.count("\n") == 1
    assert content["unit"] == "percent"
    assert 0 <= content["MA"] <= 100
    assert 0 <= content["ASR"] <= 100
    assert 0 <= content["base_rate"] <= 100
    assert len(content["sha256"]) == 64
    assert (content["strategy"], content["attack"], content["seed"]) == ("fedavg", "badnets", 3)
    assert content["report"] is None
    assert content["seconds"] > 0
    folder = Path(content["record"])
    assert folder.is_absolute()
    assert folder.parent == runs_folder
    assert (folder / "summary.json").is_file()
    assert [line.split()[1] for line in result.stderr.splitlines() if line.startswith("round")] == ["0/1", "1/1"]


def test_quiet_prints_no_progress_and_the_same_seed_gives_the_same_model(fedcrucible) -> None:
    results = [fedcrucible("run", *TINY, "--json", "--quiet") for _ in range(2)]

    assert [result.stderr for result in results] == ["", ""]
    assert len({json.loads(result.stdout)["sha256"] for result in results}) == 1


def test_the_table_says_percent_and_where_record_and_report_lie(fedcrucible, runs_folder) -> None:
    result = fedcrucible("run", *TINY, "output.report=true", "output.name=mine")

    assert result.exit_code == 0, result.output
    assert "fedavg under badnets" in result.stdout
    for word in ("clean accuracy (MA)", "attack success (ASR)", "base rate", "detection", " %", " s"):
        assert word in result.stdout
    assert f"record: {runs_folder / 'mine'}\n" in result.stdout
    assert f"report: {runs_folder / 'mine' / 'report.html'}\n" in result.stdout


def test_the_command_line_goes_before_the_preset_and_the_preset_before_the_defaults(
    fedcrucible, tmp_path: Path
) -> None:
    (tmp_path / "mine.toml").write_text(
        "strategy = 'flame'\n[run]\nrounds = 0\nseed = 5\n[task]\ntest_samples = 100\n[output]\nreport = false\n",
        encoding="utf-8",
    )

    result = fedcrucible("run", "-p", tmp_path / "mine.toml", "run.seed=6", "model.name=cnn", "--json", "--quiet")

    content = json.loads(result.stdout)
    assert (content["strategy"], content["seed"], content["rounds"]) == ("flame", 6, 0)
    assert content["attack"] == "badnets"


def test_a_record_can_be_run_again_from_its_own_configuration(fedcrucible) -> None:
    first = json.loads(fedcrucible("run", *TINY, "run.seed=4", "--json").stdout)
    again = json.loads(fedcrucible("run", "--preset", f"{first['record']}/config.toml", "--json").stdout)

    assert again["sha256"] == first["sha256"]
    assert again["record"] != first["record"]


def test_the_smoke_preset_works_for_clip_fed(fedcrucible) -> None:
    result = fedcrucible("run", "--preset", "smoke", "run.rounds=1", "output.report=false", "--json")

    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["strategy"] == "clip-fed"


def test_an_untargeted_attack_has_a_dash_for_success(fedcrucible) -> None:
    result = fedcrucible("run", *TINY, "attack.name=label-flip", "--quiet")

    assert result.exit_code == 0, result.output
    assert re.search(r"attack success \(ASR\) +- +untargeted", result.stdout)
    assert "base rate" not in result.stdout


def test_an_attack_without_trigger_has_a_dash_for_the_base_rate(fedcrucible) -> None:
    result = fedcrucible("run", *TINY, "attack.name=edge-case", "--quiet")

    assert result.exit_code == 0, result.output
    assert re.search(r"attack success \(ASR\) +[0-9.]+ % +of rare inputs", result.stdout)
    assert re.search(r"base rate +- +the attack puts no trigger on inputs", result.stdout)


def test_without_a_trigger_there_is_no_attack_success(fedcrucible) -> None:
    result = fedcrucible("run", *TINY, "attack.name=none", "--quiet")

    assert result.exit_code == 0, result.output
    assert "attack success" not in result.stdout


def _break_training(monkeypatch: pytest.MonkeyPatch, error) -> None:
    from fedcrucible.engines.local_grid import LocalGrid

    def broken(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(LocalGrid, "push_messages", broken)


def test_ctrl_c_says_where_the_rounds_so_far_lie(fedcrucible, runs_folder, monkeypatch: pytest.MonkeyPatch) -> None:
    _break_training(monkeypatch, KeyboardInterrupt())

    result = fedcrucible("run", *TINY, "--quiet")

    assert result.exit_code == 130
    assert result.stdout == ""
    (folder,) = runs_folder.iterdir()
    assert result.stderr == f"interrupted\nrounds so far are recorded in {folder}\n"


def test_ctrl_c_before_the_first_measurement_leaves_nothing(
    fedcrucible, runs_folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from server_app.evaluation import Evaluator

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Evaluator, "measure", interrupt)

    result = fedcrucible("run", *TINY, "--quiet")

    assert result.exit_code == 130
    assert result.stderr == "interrupted\nnothing was recorded\n"
    assert not any(runs_folder.iterdir())


def test_another_error_is_one_line_with_a_hint(fedcrucible, monkeypatch: pytest.MonkeyPatch) -> None:
    _break_training(monkeypatch, RuntimeError("the disk\nis full"))

    result = fedcrucible("run", *TINY, "--quiet")

    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert lines[0] == "error: RuntimeError: the disk is full"
    assert "FEDCRUCIBLE_TRACEBACK=1" in lines[-1]
    assert "Traceback" not in result.stderr


def test_the_traceback_can_be_had(fedcrucible, monkeypatch: pytest.MonkeyPatch) -> None:
    _break_training(monkeypatch, RuntimeError("the disk is full"))
    monkeypatch.setenv("FEDCRUCIBLE_TRACEBACK", "1")

    result = fedcrucible("run", *TINY, "--quiet")

    assert isinstance(result.exception, RuntimeError)


@pytest.mark.parametrize("failing", [None, "client"])
def test_dropped_replies_are_named_in_the_progress(fedcrucible, monkeypatch: pytest.MonkeyPatch, failing) -> None:
    from client_app import benign

    def broken(*_: object) -> None:
        raise RuntimeError("no memory left")

    if failing:
        monkeypatch.setattr(benign, "update", broken)

    result = fedcrucible("run", *TINY)

    assert result.exit_code == 0, result.output
    assert ("no memory left" in result.stderr) == bool(failing)
    assert ("dropped 3" in result.stderr) == bool(failing)


def test_a_run_that_missed_its_quorum_is_recorded_and_ends_with_4(fedcrucible, runs_folder) -> None:
    """Every reply claims more examples than are believed, so that all are dropped."""
    settings = (*TINY, "federation.max_examples=1", "federation.required=0,2")
    result = fedcrucible("run", *settings, "output.name=x", "--json")

    assert result.exit_code == 4
    content = json.loads(result.stdout)
    assert content["status"] == "degraded"
    said = "degraded: round 1 of 1 missed the quorum; first, round 1:"
    assert any(note.startswith(said) for note in content["notes"])
    assert "lost: client 0 (claims " in result.stderr
    assert (runs_folder / "x" / "model.safetensors").is_file()
    assert fedcrucible("watch", runs_folder / "x", "--once").exit_code == 4
