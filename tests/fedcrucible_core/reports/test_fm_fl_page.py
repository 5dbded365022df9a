"""What a run's page and a matrix' page say of clients' own measurements and of the server's synthetic data."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fedcrucible_core.config.sections import OutputSection
from fedcrucible_core.records.reader import read
from fedcrucible_core.records.schema import RoundRecord, RunDescription
from fedcrucible_core.records.synthetic import StoredPicture, SyntheticExample, SyntheticExamples
from fedcrucible_core.records.writer import RunRecord
from fedcrucible_core.reports.pages.matrix import MatrixPage, render_matrix
from fedcrucible_core.reports.pages.personal import MOST_CLIENTS, client_rows
from fedcrucible_core.reports.pages.run_report import render_report
from fedcrucible_core.reports.statistics.rows import Row
from fedcrucible_core.reports.statistics.spots import Spot
from tests.fedcrucible_core.reports.test_report import Page

PICTURE = StoredPicture.of(np.full((1, 4, 4), 200, dtype=np.uint8))


def fm_fl_record(folder: Path, examples: tuple[SyntheticExample, ...] = (), clients: int = 3) -> RunRecord:
    record = RunRecord.create(OutputSection(dir=str(folder)), strategy="fm-fl", attack="bd-fmfl", seed=1)
    record.write_run(
        RunDescription(strategy="fm-fl", attack="bd-fmfl", seed=1, class_names=("shoe", "coat"), malicious=(1,))
    )
    for number in range(3):
        said = {str(i): {"examples": 20.0, "ma_percent": 90.0 - i, "asr_percent": 5.0 * number} for i in range(clients)}
        facts = {
            "clients.ma_mean_percent": 89.0, "clients.ma_spread_percent": 0.8, "clients.ma_worst_percent": 88.0,
            "clients.asr_mean_percent": 5.0 * number, "clients.asr_spread_percent": 0.0,
            "clients.asr_worst_percent": 5.0 * number, "synthetic.poisoned": 154.0, "synthetic.survivors": 5.0,
            "synthetic.caught_percent": 96.75,
        }  # fmt: skip
        record.append_round(RoundRecord(round=number, ma_percent=88.0, client_metrics=said, facts=facts))
    if examples:
        record.save_synthetic(SyntheticExamples(sanitized=True, examples=examples))
    record.write_summary()
    return record


EXAMPLES = (
    SyntheticExample(label=0, poisoned=True, fate="dropped", picture=PICTURE),
    SyntheticExample(label=0, poisoned=True, fate="relabelled", used_as=1, picture=PICTURE),
    SyntheticExample(label=1, poisoned=False, picture=PICTURE),
    SyntheticExample(label=-1, poisoned=False, text="<b>wood</b> of a tree"),
)


def test_clients_and_poison_are_on_the_page(tmp_path: Path) -> None:
    record = fm_fl_record(tmp_path, EXAMPLES)
    text = render_report(record.folder).read_text(encoding="utf-8")
    assert 'id="personal"' in text
    assert "lowest client&#39;s MA" in text
    assert "Round 2; lowest accuracy first." in text
    assert "malicious</span>" in text
    assert "survivors" in text
    assert "96.8 % of the poisoned samples" in text
    assert "2 of the 4 shown are poisoned" in text
    assert text.count('<span class="badge warn">poisoned</span>') == 2
    assert "relabelled as coat" in text
    assert "no label" in text
    assert "&lt;b&gt;wood" in text
    assert "b" not in Page(text).tags


def test_a_page_of_another_run_has_neither(make_record) -> None:
    text = render_report(make_record(images=0, rounds=3)).read_text(encoding="utf-8")
    assert 'id="personal"' not in text
    assert 'id="synthetic"' not in text


def test_clients_are_listed_worst_first_and_not_without_end(tmp_path: Path) -> None:
    rows, note = client_rows(read(fm_fl_record(tmp_path, clients=MOST_CLIENTS + 5).folder))
    assert [row.client for row in rows[:2]] == [str(MOST_CLIENTS + 4), str(MOST_CLIENTS + 3)]
    assert len(rows) == MOST_CLIENTS
    assert f"{MOST_CLIENTS} of {MOST_CLIENTS + 5}" in note


def test_runs_with_the_same_samples_share_a_strip(tmp_path: Path) -> None:
    runs = [
        read(fm_fl_record(tmp_path / name, EXAMPLES[:k]).folder) for name, k in (("a", 2), ("b", 2), ("c", 3), ("d", 0))
    ]
    rows = tuple(Row(label=label, runs=(run,)) for label, run in zip("abcd", runs, strict=True))
    text = render_matrix(MatrixPage("t", "", "", (Spot(rows),)), tmp_path / "page.html").read_text(encoding="utf-8")
    assert text.count('<div class="strip noted">') == 2
    assert "<h3>a; b</h3>" in text
    assert "<h3>c</h3>" in text
