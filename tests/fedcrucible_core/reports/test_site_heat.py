"""The site matrix on a run's page: cells without a number are told apart, and what sites write is text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fedcrucible_core.config.sections import OutputSection
from fedcrucible_core.records import files
from fedcrucible_core.records.events import EventWriter
from fedcrucible_core.records.reader import parsed, read
from fedcrucible_core.records.schema import RoundRecord, RunDescription
from fedcrucible_core.records.site_matrix import SiteMatrix
from fedcrucible_core.records.writer import RunRecord
from fedcrucible_core.reports.pages.run_report import render_report
from fedcrucible_core.reports.pages.site_heat import MOST_ROUNDS, MOST_SITES, site_heat
from tests.support.site_rounds import CAUSE, site_rounds


def _record(folder: Path, rounds: list[RoundRecord]) -> RunRecord:
    record = RunRecord.create(OutputSection(dir=str(folder)), strategy="krum", attack="badnets", seed=1)
    record.write_run(RunDescription(strategy="krum", attack="badnets", seed=1, malicious=(1,), clients=4))
    EventWriter(record.folder / files.EVENTS).append("nodes", {"2": {"node": "7", "name": "<i>\x1b[31mward"}})
    for each in rounds:
        record.append_round(each)
    record.write_summary()
    record.write_sites()
    return record


def test_a_row_per_site_and_a_column_per_round(tmp_path: Path) -> None:
    record = _record(tmp_path, site_rounds())
    heat = site_heat(read(record.folder))
    assert heat.columns == ["1", "2", "4"]
    ma, asr = heat.maps
    assert [row["site"] for row in ma.rows] == [3, 1, 0, 2], "never measured, then worst off first"
    texts = {row["site"]: [cell["text"] for cell in row["cells"]] for row in ma.rows}  # type: ignore[attr-defined]
    assert texts == {
        3: ["absent", "", "excluded"], 1: ["40.0", "dropped", "44.0"], 0: ["50.0", "60.0", "70.0"],
        2: ["absent", "", "90.0"],
    }  # fmt: skip
    texts = {row["site"]: [cell["text"] for cell in row["cells"]] for row in asr.rows}  # type: ignore[attr-defined]
    assert texts[1] == ["refused", "dropped", "refused"]
    assert [mark for mark, _ in heat.legend] == ["dropped", "absent", "excluded", "empty", "refused"]


def test_the_page_shows_it_and_the_file_holds_it(tmp_path: Path) -> None:
    record = _record(tmp_path, site_rounds())
    page = render_report(record.folder).read_text(encoding="utf-8")
    assert page.count('class="heat sites"') == 2
    assert re.search(r'class="dropped">\s*dropped</td>', page)
    assert "<i>" not in page
    assert "\x1b" not in page
    assert "ward</span>" in page
    matrix = parsed(record.folder / files.SITES, SiteMatrix)
    assert matrix.sites[1].causes == {"2": CAUSE}
    assert matrix.worst_site == 1


def test_a_page_where_every_answer_was_dropped_says_so(tmp_path: Path) -> None:
    lost = [RoundRecord(round=1, evaluations_dropped={"0": "error 2: no data"}, facts={"clients.measured": 0.0})]
    page = render_report(_record(tmp_path, lost).folder).read_text(encoding="utf-8")
    assert page.count('class="heat sites"') == 1
    assert 'href="#personal"' in page


@pytest.mark.parametrize(("sites", "rounds"), [(MOST_SITES + 3, 2), (2, 10 * MOST_ROUNDS + 1)])
def test_large_matrices_are_cut_and_say_so(sites: int, rounds: int, tmp_path: Path) -> None:
    said = {str(i): {"examples": 5.0, "ma_percent": 50.0} for i in range(sites)}
    each = [RoundRecord(round=n, client_metrics=said, facts={"clients.measured": 1.0}) for n in range(1, rounds + 1)]
    heat = site_heat(read(_record(tmp_path, each).folder))
    assert len(heat.maps[0].rows) <= MOST_SITES
    assert len(heat.columns) <= MOST_ROUNDS
    assert heat.columns[-1] == str(rounds)
    assert "sites.json" in heat.note


def test_a_continued_record_forgets_the_matrix(tmp_path: Path) -> None:
    record = _record(tmp_path, site_rounds())
    record.rewind(1)
    assert not (record.folder / files.SITES).exists()
