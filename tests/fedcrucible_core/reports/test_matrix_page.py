"""The page of a matrix: complete, self-contained, and safe."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fedcrucible_core.records.reader import RecordedRun, read
from fedcrucible_core.reports.pages.grid import Grid
from fedcrucible_core.reports.pages.matrix import MatrixPage, render_matrix
from fedcrucible_core.reports.pages.parts import Part
from fedcrucible_core.reports.statistics.printed import Printed
from fedcrucible_core.reports.statistics.rows import Row
from fedcrucible_core.reports.statistics.spots import Spot
from fedcrucible_core.reports.statistics.standing import Best, Standing
from tests.fedcrucible_core.reports.test_browser import browse
from tests.fedcrucible_core.reports.test_report import Page

EVIL = "<script>alert(1)</script>"


@pytest.fixture
def runs(make_record) -> dict[bool, tuple[RecordedRun, ...]]:
    """Undefended and defended runs of two seeds."""
    return {
        defended: tuple(read(make_record(defended=defended, seed=seed, images=0, rounds=6)) for seed in (1, 2))
        for defended in (False, True)
    }


class JudgedSpot(Spot):
    """A spot whose judgement is given."""

    def __init__(self, given: Standing, *parts: object) -> None:
        super().__init__(*parts)
        self.__dict__["standing"] = given


def page(runs: dict[bool, tuple[RecordedRun, ...]], text: str = "plain") -> MatrixPage:
    best = Best(frozenset({"fedavg"}), frozenset({"clip-fed"}))
    rows = (
        Row(label="fedavg", runs=runs[False]),
        Row(label="clip-fed", runs=runs[True], paper=(Printed("MA", 81.5, "ma"), Printed("ASR", 2.77, "asr"))),
        Row(label="gone", runs=()),
    )
    spots = [
        JudgedSpot(Standing(best, weak), rows, {"q": share}, column, column)
        for share in (0.2, 0.4) for column, weak in (("badnets", False), (f"dba {text}", True))
    ]  # fmt: skip
    return MatrixPage(
        title=f"Matrix {text}",
        facts="facts",
        legend="legend",
        spots=spots,
        tables=[Part("Cost", "note", Grid(("strategy", "s"), (("fedavg", "1.0"), (text, "2.0")), 1))],
        warnings=(text,),
        remarks=(text,),
        missing=(f"gone: {text}",),
        settings=(("Assumed", (("run.rounds", "3", text),)),),
        origin=(("command", text),),
    )


def test_the_page_has_every_part_and_loads_nothing(runs, tmp_path: Path) -> None:
    text = render_matrix(page(runs), tmp_path / "report.html").read_text(encoding="utf-8")
    found = Page(text)
    assert {"results", "curves", "roc", "cost", "settings", "origin"} <= set(found.ids)
    assert len(found.ids) == len(set(found.ids))
    assert all(address.startswith(("data:", "#")) for address in found.loaded), found.loaded
    assert set(found.references) <= set(found.ids)
    assert not found.tags & {"script", "link", "iframe", "object", "img"}
    for outside in ("http://", "https://", "@import", "url(http"):
        assert outside not in text
    assert found.unnamed == []
    assert "default-src 'none'" in text


def test_numbers_marks_and_the_papers_values_are_shown(runs, tmp_path: Path) -> None:
    text = render_matrix(page(runs), tmp_path / "report.html").read_text(encoding="utf-8")
    best = runs[True][0].summary
    assert "paper 81.5" in text
    assert "paper 2.8" in text
    assert text.count("weak attack</span>") == 8, "two weak columns, in two maps and on two rows of the table each"
    assert text.count('<strong title="best of its column">') == 8
    assert "no run" in text
    assert "± " in text
    assert best.asr_percent is not None
    assert text.count("<svg") == 6, "curves of four spots, two trade-offs; these rules report no scores"
    assert "No rule reported scores" in text


def test_hostile_names_are_escaped(runs, tmp_path: Path) -> None:
    text = render_matrix(page(runs, EVIL), tmp_path / "report.html").read_text(encoding="utf-8")
    assert "script" not in Page(text).tags
    assert "&lt;script&gt;" in text


def test_an_empty_matrix_says_so(tmp_path: Path) -> None:
    text = render_matrix(MatrixPage("Empty", "", "", ()), tmp_path / "report.html").read_text(encoding="utf-8")
    assert "No cell has any number yet" in text
    assert "there are no curves" in text


def test_the_same_runs_make_the_same_page(runs, tmp_path: Path) -> None:
    first = render_matrix(page(runs), tmp_path / "a.html").read_bytes()
    assert render_matrix(page(runs), tmp_path / "b.html").read_bytes() == first


def test_the_page_needs_no_torch() -> None:
    code = (
        "import sys, fedcrucible_core.reports.pages.records_page; "
        "assert not {'torch', 'matplotlib.pyplot'} & set(sys.modules)"
    )
    root = Path(__file__).resolve().parents[3]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)


@pytest.mark.slow
def test_it_opens_without_console_errors(runs, tmp_path: Path) -> None:
    found = browse(render_matrix(page(runs), tmp_path / "report.html"), tmp_path, "--dump-dom")
    assert "CONSOLE" not in found.stderr, found.stderr
    assert found.stdout.rstrip().endswith("</html>")


def test_small_differences_of_accuracy_are_not_painted_as_large_ones(runs, tmp_path: Path) -> None:
    """80.0 and 80.5 differ by a tenth of the least span."""

    def row(label: str, ma: float) -> Row:
        run = runs[True][0]
        return Row(label=label, runs=(replace(run, summary=run.summary.model_copy(update={"ma_percent": ma})),))

    made = MatrixPage("Title", "", "", (Spot((row("a", 80.5), row("b", 80.0)), {}, "badnets", "badnets"),))
    text = render_matrix(made, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "tinted from 75.5 to 80.5" in text
    assert [int(part.split("%")[0]) for part in text.split("--mix: ")[1:3]] == [58, 52]
