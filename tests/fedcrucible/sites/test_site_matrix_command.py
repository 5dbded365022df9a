"""``fedcrucible site matrix``: what the model is worth to each site."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedcrucible.cli import app
from fedcrucible_core.config.sections import OutputSection
from fedcrucible_core.records.schema import RoundRecord, RunDescription
from fedcrucible_core.records.writer import RunRecord
from tests.support.site_rounds import CAUSE, site_rounds


def _record(folder: Path, rounds: list[RoundRecord]) -> Path:
    record = RunRecord.create(OutputSection(dir=str(folder)), strategy="krum", attack="badnets", seed=1)
    record.write_run(RunDescription(strategy="krum", attack="badnets", seed=1, clients=4))
    for each in rounds:
        record.append_round(each)
    return record.folder


def _matrix(*words: str | Path) -> tuple[int, str]:
    found = CliRunner().invoke(app, ["site", "matrix", *map(str, words)])
    return found.exit_code, found.output


def test_it_says_who_is_worst_off_and_why_answers_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    code, said = _matrix(_record(tmp_path, site_rounds()))
    assert code == 0
    lines = [line.split() for line in said.splitlines()]
    assert ["1", "20", "40.00", "dropped", "44.00"] in lines
    assert ["1", "20", "refused", "dropped", "refused"] in lines
    assert ["3", "-", "absent", ".", "excl."] in lines
    assert "worst off: site 1, MA 44.00 %; best minus worst: 46.00 points" in said
    assert f"site 1, round 2: {CAUSE}" in said


def test_screens_show_the_last_rounds(tmp_path: Path) -> None:
    said = {"0": {"examples": 8.0, "ma_percent": 50.0}}
    _, shown = _matrix(_record(tmp_path, [RoundRecord(round=n, client_metrics=said) for n in range(1, 61)]))
    title, heads = shown.splitlines()[:2]
    assert title.rstrip().endswith(f"the last {len(heads.split()) - 3} of 60")
    assert heads.split()[-1] == "60"


def test_json_is_the_file(tmp_path: Path) -> None:
    code, said = _matrix(_record(tmp_path, site_rounds()), "--json")
    found = json.loads(said)
    assert (code, found["worst_site"], found["rounds"]) == (0, 1, [1, 2, 4])
    assert found["sites"][1]["ma_percent"] == [40.0, None, 44.0]


def test_a_run_that_asked_nobody_says_how_to(tmp_path: Path) -> None:
    code, said = _matrix(_record(tmp_path, [RoundRecord(round=0)]))
    assert code == 0
    assert "federation.fraction_evaluate" in said


def test_what_is_no_record_is_one_line(tmp_path: Path) -> None:
    code, said = _matrix(tmp_path)
    assert code == 1
    assert "is no run record" in said
