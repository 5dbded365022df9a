"""Tables from invented numbers: means, intervals, marks, the paper's values, what is missing."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd
import pytest

from fedcrucible.comparison.execution.store import Store
from fedcrucible.comparison.plan.cell import Cell
from fedcrucible.comparison.plan.request import Options, matrix
from fedcrucible.comparison.session import Request, compare
from fedcrucible.comparison.tables.latex import latex_escape
from fedcrucible.comparison.tables.matrix_spots import _read
from fedcrucible.comparison.tables.outputs import as_json, write_outputs
from fedcrucible.comparison.tables.result_table import print_outcome
from fedcrucible.comparison.tables.tables import table
from fedcrucible_core.reports.pages.grid import Grid, mean_interval
from fedcrucible_core.reports.statistics.spread import spread
from tests.support.invented_cells import invent_all

MA = {"fedavg": 80.0, "flame": 79.0, "clip-fed": 81.0, "server-data-only": 60.0}
ASR = {"fedavg": 90.0, "flame": 10.0, "clip-fed": 3.0, "server-data-only": 1.0}
T_2 = 4.302653
"""97.5 % quantile of Student's t with two degrees."""


def numbers(cell: Cell) -> tuple[float, float | None]:
    """Seeds 1, 2, 3 lie one point apart; the second attack is weak."""
    system, seed = str(cell.labels["strategy"]), int(cell.labels["seed"])
    asr = ASR[system] / (1.0 if cell.labels.get("attack.badnets.size", 3) == 3 else 10.0)
    return MA[system] + seed - 2.0, asr + (seed - 2.0) * 0.5


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished matrix: four systems, two triggers, three seeds; one cell lacks a seed."""
    folder = tmp_path_factory.mktemp("tables") / "out"
    options = Options(preset="smoke", strategies=",".join(MA), seeds="1-3", axes=["attack.badnets.size=3,1"],
                      reference="clip-fed")  # fmt: skip
    cells = matrix(options).cells()
    store = Store(folder / "cells")
    kept = [
        cell for cell in cells
        if (cell.labels["strategy"], cell.labels["seed"], cell.labels["attack.badnets.size"]) != ("flame", 3, 3)
    ]  # fmt: skip
    invent_all(store, kept, numbers)
    compare(Request(options, jobs=0, out=folder, quiet=True))
    return folder


def rows_of(text: str, heading: str) -> dict[str, list[str]]:
    section = text.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return {cells[0]: cells for cells in ([part.strip() for part in line.strip("|").split("|")] for line in lines)}


def test_means_intervals_and_marks(written: Path) -> None:
    text = (written / "results.md").read_text(encoding="utf-8")
    found = rows_of(text, "Results")
    half = f"{T_2 / math.sqrt(3):.2f}"
    assert found["strategy"][1:] == ["size 3", "size 1 †"]
    assert found["clip-fed"][1] == f"**81.00 ± {half}** / **3.00 ± {float(half) / 2:.2f}**"
    assert found["fedavg"][1].startswith(f"80.00 ± {half} / 90.00")
    assert found["server-data-only"][2].startswith("60.00"), "unmarked: its ASR is lower, but so is its MA"
    assert "**" not in found["server-data-only"][2]
    assert "among systems within 5 points" in text


def test_the_number_of_seeds_is_said_where_it_differs(written: Path) -> None:
    text = (written / "results.md").read_text(encoding="utf-8")
    assert "(2 seeds)" in rows_of(text, "Results")["flame"][1]
    assert "seeds)" not in rows_of(text, "Results")["flame"][2]
    assert "over 3 seeds" in text


def test_a_weak_attack_is_flagged_where_the_undefended_run_says_so(written: Path) -> None:
    """fedavg's ASR is 90 % with the large trigger and 9 % with the small one."""
    text = (written / "results.md").read_text(encoding="utf-8")
    assert "Weak attack: its undefended ASR is below 50 %" in text
    page = (written / "report.html").read_text(encoding="utf-8")
    assert page.count("weak attack</span>") == 6, "one column in two heat maps, four rows of the table of all numbers"


def test_paired_tests_stand_against_the_reference_with_their_limits(written: Path) -> None:
    text = (written / "results.md").read_text(encoding="utf-8")
    section = text.split("## Paired tests\n")[1].split("\n## ")[0]
    assert "Each system against clip-fed" in section
    assert "With 3 pairs Wilcoxon's p can't be less than 0.25" in section
    assert "not corrected for their number" in section
    lines = [line.split("|") for line in section.splitlines() if "| fedavg |" in line]
    assert [part.strip() for part in lines[0][2:6]] == ["fedavg", "3", "-1.00", "-"], "equal differences have no t"
    assert "| clip-fed |" not in section


def test_what_is_missing_is_named(written: Path) -> None:
    text = (written / "results.md").read_text(encoding="utf-8")
    assert "**1 of 24 cells have no numbers" in text
    assert "- attack.badnets.size 3, flame, seed 3: not run yet" in text
    frame = pd.read_csv(written / "results.csv")
    missing = frame[frame["ma"].isna()]
    assert missing[["strategy", "seed", "error"]].to_numpy().tolist() == [["flame", 3, "not run yet"]]


def test_over_the_run_and_cost(written: Path) -> None:
    text = (written / "results.md").read_text(encoding="utf-8")
    assert rows_of(text, "Over the run")["attack.badnets.size"][2:] == [
        "MA, mean of last rounds", "ASR, mean of last rounds", "highest ASR", "rounds with ASR > 20 %",
    ]  # fmt: skip
    cost = rows_of(text, "Cost")
    assert cost["strategy"][1:3] == ["server s/round", "clients s/round"]
    assert cost["fedavg"][1:] == ["0.50", "3.00", "40.00", "600.00", "40.00", "40.00"]
    assert "AUROC" in text


def test_latex_is_escaped_and_marked(written: Path) -> None:
    text = (written / "results.tex").read_text(encoding="utf-8")
    assert r"\textbf{81.00 $\pm$" in text
    assert r"size 1 $^\dagger$" in text
    assert "†" not in text
    body = text.split("\\midrule")[1]
    assert body.count(r"\\") == 4
    assert latex_escape("50 % of a_b & {c}\\~^#$") == (
        r"50 \% of a\_b \& \{c\}\textbackslash{}\textasciitilde{}\textasciicircum{}\#\$"
    )


def test_machines_get_the_same(written: Path, fedcrucible) -> None:
    arguments = ("compare", "-p", "smoke", "-s", ",".join(MA), "--seeds", "1-3", "--axis", "attack.badnets.size=3,1",
                 "--reference", "clip-fed", "-o", written, "-j", "0", "--json")  # fmt: skip
    result = fedcrucible(*arguments)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    row = next(row for row in found["rows"] if row["system"] == "clip-fed" and row["column"] == 3)
    assert row["best_MA"]
    assert row["best_ASR"]
    assert row["weak_attack"] is False
    assert row["MA"]["mean"] == pytest.approx(81.0)
    assert row["MA"]["sd"] == pytest.approx(1.0)
    assert [row["weak_attack"] for row in found["rows"] if row["column"] == 1] == [True] * 4
    assert found["failed"] == [{"cell": "attack.badnets.size 3, flame, seed 3", "cause": "not run yet"}]


def test_margin_is_the_users(written: Path, fedcrucible) -> None:
    result = fedcrucible("compare", "-p", "smoke", "-s", ",".join(MA), "--seeds", "1-3", "--axis",
                         "attack.badnets.size=3,1", "-o", written, "-j", "0", "--json", "--margin", "30")  # fmt: skip
    best = {row["system"] for row in json.loads(result.stdout)["rows"] if row["best_ASR"]}
    assert best == {"server-data-only"}


def test_without_an_undefended_run_nothing_is_said_to_be_strong(tmp_path: Path) -> None:
    options = Options(preset="smoke", strategies="flame,clip-fed", seeds="1")
    invent_all(Store(tmp_path / "cells"), matrix(options).cells(), numbers)
    compare(Request(options, jobs=0, out=tmp_path, quiet=True))
    text = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "No undefended run" not in text
    assert "whether it is weak isn't known" in text
    assert "†" not in text
    assert "one seed" in text


def test_a_table_with_no_number_at_all_can_still_be_written(tmp_path: Path) -> None:
    outcome, folder = compare(Request(Options(preset="smoke", strategies="fedavg,flame", seeds="1"), 0, tmp_path))
    assert "no number" in (folder / "results.md").read_text(encoding="utf-8")
    assert "no run" in (folder / "report.html").read_text(encoding="utf-8")
    assert len(outcome.failed) == 2
    assert len(pd.read_parquet(folder / "results.parquet")) == 2


def test_mean_and_half_width() -> None:
    found = spread([1.0, 2.0, 3.0])
    assert found is not None
    assert mean_interval(found) == "2.00 ± 2.48"
    assert mean_interval(found, usual=5) == "2.00 ± 2.48 (3 seeds)"
    one = spread([5.0])
    assert one is not None
    assert mean_interval(one) == "5.00 (1 seed)"
    assert mean_interval(one, usual=1) == "5.00"


def test_a_plain_table_of_a_frame() -> None:
    frame = pd.DataFrame(
        {"system": ["a", "a", "b"], "share": [0.1, 0.2, 0.1], "ma": [1.0, 2.0, 3.0], "asr": [4.0, 5.0, None]}
    )
    assert table(frame, ["system"], "share", ["ma", "asr"], usual=1).splitlines() == [
        "| system | 0.1 | 0.2 |",
        "| --- | --- | --- |",
        "| a | 1.00 / 4.00 | 2.00 / 5.00 |",
        "| b | 3.00 / - | - |",
    ]


def test_records_of_other_sources_are_counted(tmp_path: Path) -> None:
    for name in ("in-process", "flwr"):
        options = Options(preset="smoke", strategies="fedavg,flame", seeds="1", engine=name)
        cells = matrix(options).cells()
        store = Store(tmp_path / name / ("cells" if name == "in-process" else "cells-flwr"))
        invent_all(store, cells, numbers)
        outcome, folder = compare(Request(options, 0, tmp_path / name, quiet=True))
        assert outcome.other_sources == 0
        record = next((tmp_path / name).glob("cells*/*/environment.json"))
        record.write_text(record.read_text("utf-8").replace(outcome.environment.source_sha256, "0" * 64), "utf-8")
        _read.cache_clear()
        outcome, _ = compare(Request(options, 0, folder, quiet=True))
        assert outcome.other_sources == 1
        assert "made by other sources" in (folder / "results.md").read_text("utf-8")


def test_where_the_reference_is_missing_nothing_is_tested(tmp_path: Path) -> None:
    """Another system must not take its place without a word."""
    options = Options(preset="smoke", strategies="krum,fedavg,flame", seeds="1-3", axes=["attack.badnets.size=3,1"])
    cells = [
        cell
        for cell in matrix(options).cells()
        if (cell.labels["strategy"], cell.labels["attack.badnets.size"]) != ("krum", 1)
    ]
    store = Store(tmp_path / "cells")
    invent_all(store, cells, lambda cell: (70.0 + int(cell.labels["seed"]) * len(str(cell.labels["strategy"])), 5.0))
    compare(Request(options, jobs=0, out=tmp_path, quiet=True))
    text = (tmp_path / "results.md").read_text(encoding="utf-8")
    tests = text.split("## Paired tests\n")[1].split("\n## ")[0]
    assert "Each system against krum" in tests
    rows = [line for line in tests.splitlines() if line.startswith("| ") and ("fedavg" in line or "flame" in line)]
    assert rows
    assert all("| 3 |" in row for row in rows)
    assert not any("| 1 |" in row for row in rows)


def test_cells_that_learned_nothing_are_listed_and_never_best(tmp_path: Path) -> None:
    """The unchanged and the dead system have the best numbers of all."""
    options = Options(preset="smoke", strategies="fedavg,flame,krum,median", seeds="1-2")
    cells, store = matrix(options).cells(), Store(tmp_path / "cells")
    best = {"krum": (99.0, 0.0), "median": (98.0, 0.0)}
    invent_all(store, cells, lambda cell: best.get(str(cell.labels["strategy"]), (80.0, 20.0)))
    for cell in cells:
        state = {"krum": "unchanged", "median": "dead"}.get(str(cell.labels["strategy"]))
        path = tmp_path / "cells" / cell.name / "summary.json"
        if state and (state == "unchanged" or cell.labels["seed"] == 2):
            path.write_text(json.dumps({**json.loads(path.read_bytes()), "state": state, "notes": ["why: A | B"]}))
    _read.cache_clear()
    outcome, folder = compare(Request(options, 0, out=tmp_path, quiet=True))
    spot = outcome.spots[0]
    assert spot.best.ma == spot.best.asr == {"fedavg", "flame"}
    text = (folder / "results.md").read_text(encoding="utf-8")
    found = rows_of(text, "Results")
    assert found["krum"][1].endswith("‡")
    assert "‡" not in found["flame"][1]
    assert "never marked best: krum (unchanged); median (dead (1 of 2 runs))" in text
    assert "why: A | B: krum; median (seed 2)" in text
    assert r"$^\ddagger$" in (folder / "results.tex").read_text(encoding="utf-8")
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert '<span class="badge warn">unchanged</span>' in page
    assert "What to know of single runs" in page
    rows = {row["system"]: row for row in as_json(outcome, folder)["rows"]}
    assert (rows["krum"]["flaw"], rows["krum"]["best_ASR"]) == ("unchanged", False)
    assert rows["median"]["notes"] == {"why: A | B": [2]}
    frame = pd.read_csv(folder / "results.csv")
    assert frame[frame["strategy"] == "krum"]["state"].tolist() == ["unchanged"] * 2


def test_a_lucky_seed_is_not_best(tmp_path: Path) -> None:
    options = Options(preset="smoke", strategies="fedavg,flame,krum", seeds="1-3")
    cells = [c for c in matrix(options).cells() if c.labels["strategy"] != "krum" or c.labels["seed"] == 1]
    invent_all(Store(tmp_path / "cells"), cells, lambda c: (80.0, 0.0 if c.labels["strategy"] == "krum" else 20.0))
    outcome, folder = compare(Request(options, 0, out=tmp_path, quiet=True))
    assert outcome.spots[0].best.asr == {"fedavg", "flame"}
    text = (folder / "results.md").read_text(encoding="utf-8")
    assert "krum (seeds 1, where others have 1, 2, 3)" in text
    found = rows_of(text, "Results")
    assert found["krum"][1].endswith("‡"), "as any cell that isn't compared"
    assert "‡" not in found["flame"][1]
    assert '<span class="badge warn">other seeds</span>' in (folder / "report.html").read_text(encoding="utf-8")


def test_all_that_latex_reads_as_its_own_is_escaped() -> None:
    assert latex_escape('a<b>|"c"\n%d') == r"a\textless{}b\textgreater{}\textbar{}\texttt{\char34}c\texttt{\char34} \%d"
    assert latex_escape("[2]") == "{[}2{]}"
    assert latex_escape("‡") == r"$^\ddagger$"


def test_markdown_cells_keep_to_their_table() -> None:
    grid = Grid(("a|b", "c"), (("x\r\ny|z", "<script>alert(1)</script>, p < 0.001"),), 1)
    assert grid.markdown().splitlines() == [
        "| a\\|b | c |", "| --- | --- |", "| x<br>y\\|z | &lt;script>alert(1)&lt;/script>, p < 0.001 |",
    ]  # fmt: skip


def test_a_spreadsheet_is_given_no_formula(tmp_path: Path) -> None:
    options = Options(preset="smoke", strategies="fedavg", seeds="1")
    outcome, folder = compare(Request(options, 0, out=tmp_path, quiet=True))
    outcome.frame["error"] = "=HYPERLINK(1)"
    write_outputs(outcome, folder)
    assert pd.read_csv(folder / "results.csv")["error"].tolist() == ["'=HYPERLINK(1)"]
    assert pd.read_parquet(folder / "results.parquet")["error"].tolist() == ["=HYPERLINK(1)"]


def test_failed_runs_count_among_those_made_now(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Four runs are made, one of them fails again: four of four, not four of three."""
    options = Options(preset="smoke", strategies="fedavg,flame", seeds="1-2")
    cells = matrix(options).cells()
    invent_all(Store(tmp_path / "cells"), cells[:3], numbers)
    outcome, folder = compare(Request(options, 0, out=tmp_path, quiet=True))
    outcome.results.ran, outcome.results.failed = 4, 1
    print_outcome(outcome, folder)
    assert "4 of 4 runs made now, 1 of them failed" in capsys.readouterr().out


def test_what_is_not_measured_is_no_number_of_rounds(tmp_path: Path) -> None:
    """An untargeted attack has no ASR, so there are no rounds that could lie above 20 %."""
    options = Options(preset="smoke", strategies="fedavg,flame", attacks="badnets,min-max", seeds="1-2")
    cells = matrix(options).cells()
    targeted = {"badnets": 30.0, "min-max": None}
    invent_all(Store(tmp_path / "cells"), cells, lambda cell: (80.0, targeted[str(cell.labels["attack"])]))
    outcome, folder = compare(Request(options, 0, out=tmp_path, quiet=True))
    counted = outcome.frame.groupby("attack")["rounds_asr_above_20"].count()
    assert counted.to_dict() == {"badnets": 4, "min-max": 0}
    table = (folder / "results.md").read_text(encoding="utf-8").partition("## Over the run")[2].partition("## ")[0]
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| min-max")]
    assert [row[-1] for row in rows] == ["- |", "- |"]
