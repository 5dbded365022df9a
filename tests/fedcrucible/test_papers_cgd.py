"""CGD's tables as data, and the presets that run them."""

from __future__ import annotations

import re

import pytest

from attacks.adversary import ATTACKS
from defenses.base import REPAIRS, SPLITTERS
from fedcrucible.comparison.plan.matrix import Matrix
from fedcrucible.comparison.plan.request import Options, matrix
from fedcrucible.papers.tables import PaperNumber, load_table, table_names
from fedcrucible_core.config.load import flatten, load
from fedcrucible_core.config.preset import PRESETS
from fedcrucible_core.config.values import value_text
from fedcrucible_core.learning.models.base import MODELS
from fedcrucible_core.reports.statistics.measures import MEASURES
from fedcrucible_core.rooms import ROOT

TABLES = [f"table{number}" for number in (1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)]
PRESET_NAMES = [f"cgd/{table}{size}" for table in TABLES for size in ("", "-small")]
CATEGORIES = ("Classic", "Dynamic", "Clean-label", "Clean-image", "mean")
COLUMNS_1 = ("NoDef", "ABL", "DBD", "ASD", "D-BR", "EP", "ReBack", "PIPD", "MSPC", "CGD")
PRINTED_1 = """
BadNets 91.8/93.8 90.8/1.1 92.1/2.6 92.0/2.1 91.0/1.5 91.0/0.8 91.7/4.3 92.9/0.5 92.8/0.3 92.8/0.0
Blend 93.7/99.8 86.2/4.4 93.0/100 93.0/5.3 85.1/0.0 91.6/96.1 91.7/2.4 93.1/5.3 92.7/0.7 93.2/0.0
WaNet 90.6/96.9 89.9/81.2 90.5/2.6 91.7/8.8 84.3/60.2 89.8/91.1 90.2/84.4 93.4/11.4 93.0/54.2 94.0/0.3
BPP 91.4/99.2 89.1/99.8 92.4/99.9 92.5/99.4 88.5/85.5 89.8/4.6 90.1/1.8 93.1/0.9 90.5/2.8 94.0/0.3
IAB 89.7/94.9 89.3/83.0 91.3/0.0 92.3/19.8 85.3/84.8 90.7/1.6 87.9/1.7 92.0/4.0 92.5/5.3 93.3/0.7
SSBA 93.0/97.3 88.6/3.9 92.5/2.4 93.3/7.1 83.1/3.0 92.0/10.5 85.1/6.6 90.6/17.2 90.9/21.5 92.9/0.0
CTRL 93.6/95.9 88.2/2.4 92.1/57.8 91.3/89.3 90.5/98.3 92.3/1.1 91.4/96.2 90.1/12.6 91.8/77.3 93.6/0.1
SIG 93.6/93.9 88.2/0.4 89.2/97.5 92.2/99.5 91.3/49.6 92.1/12.5 87.4/29.9 93.2/13.5 91.0/10.3 93.3/0.0
LC 93.4/98.4 82.1/5.2 92.3/98.3 91.2/9.8 91.3/1.7 92.5/0.6 91.4/1.0 90.8/3.7 90.8/89.4 93.2/0.0
FLIP 89.9/99.2 84.8/99.6 92.3/1.6 86.9/62.2 83.9/22.1 89.9/98.5 90.0/39.7 91.4/66.9 91.6/17.2 92.5/0.5
GCB 88.6/100 85.5/100 91.2/6.9 90.9/100 84.2/100 88.3/99.9 88.7/71.6 92.5/87.7 91.5/23.9 92.3/0.0
mean 91.7/97.2 87.5/43.7 91.7/42.7 91.6/45.7 87.2/46.1 90.9/37.9 89.6/30.7 92.1/20.3 91.7/27.5 93.2/0.2
"""
COLUMNS_3 = tuple(f"{repair}, {clean}" for clean in ("5 % clean", "SC") for repair in ("FP", "MCR", "I-BAU", "ANP"))
PRINTED_3 = """
Classic 92.1/21.7 92.6/51.1 86.4/16.5 85.3/21.4 93.3/18.2 91.0/1.4 90.7/25.7 86.6/18.8
Dynamic 92.8/30.9 72.6/47.9 90.5/30.3 87.2/1.1 94.0/25.2 87.6/24.3 91.8/6.2 85.7/0.6
Clean-label 92.4/58.0 93.3/82.5 88.7/16.0 86.5/24.9 93.2/57.2 90.8/5.7 90.8/17.8 87.5/9.7
Clean-image 92.1/17.7 92.9/38.5 89.4/6.6 84.9/0.3 92.7/15.8 91.3/1.0 90.4/43.4 85.8/0.1
mean 92.4/32.1 87.9/55.0 88.7/17.3 86.0/11.9 93.3/29.1 90.2/8.1 90.9/23.3 86.4/7.3
"""
COLUMNS_5 = ("un", "re", "distill", "un+re", "un+distill", "re+distill", "all")
PRINTED_5 = """
Classic 83.6/97.5 93.2/91.5 26.8/13.8 93.1/48.3 9.3/1.1 92.8/4.1 93.0/0.0
Dynamic 90.2/82.0 93.6/62.2 51.8/64.5 93.5/34.5 36.8/58.9 93.6/24.5 93.5/0.3
Clean-label 91.7/98.5 93.6/94.4 34.0/29.3 93.6/93.8 13.5/14.3 92.9/11.8 93.4/0.0
Clean-image 87.1/97.3 91.2/97.2 24.0/25.7 92.0/37.2 9.7/14.3 92.2/13.7 92.4/0.2
mean 88.1/93.8 92.9/86.3 34.1/33.3 93.0/53.5 17.3/22.1 92.9/13.5 93.1/0.1
"""
PRINTED_6 = """
Classic 93.0/0.0 92.6/0.0
Dynamic 93.2/5.3 93.3/2.5
Clean-label 92.8/0.7 92.7/0.7
Clean-image 90.8/3.3 90.6/2.8
mean 92.5/2.3 92.3/1.5
"""
PRINTED_10 = """
BadNets 93.2/73.8 92.6/2.7 91.8/93.8 92.3/0.0
Blend 93.8/94.1 93.5/0.0 93.7/99.8 93.5/0.0
WaNet 91.1/72.0 93.8/0.6 90.6/96.9 93.9/0.4
BPP 91.4/99.2 93.9/0.1 91.4/99.2 93.9/0.1
IAB 90.5/54.6 93.5/0.2 89.7/94.9 93.6/0.8
SSBA 93.4/99.7 93.3/0.4 93.0/97.3 93.0/0.0
CTRL 94.0/55.3 93.7/4.6 93.6/95.9 93.1/0.9
SIG 93.7/80.4 93.5/0.0 84.6/98.0 84.4/0.0
LC 93.5/68.3 93.2/2.8 84.4/99.8 84.4/0.0
FLIP 93.2/98.1 93.3/0.1 85.4/99.7 91.5/0.0
GCB 92.6/100 92.9/0.0 84.2/100 91.0/0.0
mean 92.8/81.4 93.4/1.0 89.3/97.8 91.3/0.2
"""
PRINTED_12 = """
Classic 92.8/0.6 92.8/1.0 93.0/0.0
Dynamic 93.4/4.7 92.7/57.7 93.5/0.3
Clean-label 92.8/46.4 93.3/1.3 93.4/0.0
Clean-image 92.2/3.6 90.4/38.7 92.4/0.2
mean 92.8/13.8 92.3/25.1 93.1/0.1
"""
NOT_BUILT = {("table1", "ReBack"), ("table1", "PIPD"), ("table1", "MSPC"), ("table6", "ImageBind")}
"""Columns of the paper beside which nothing of ours stands; the presets' remarks say why."""


def lines(text: str) -> dict[str, list[tuple[float, ...]]]:
    """A table as it was copied from the paper, parsed apart from the data files."""
    rows = (line.split() for line in text.split("\n")[1:-1])
    return {head: [tuple(map(float, cell.split("/"))) for cell in cells] for head, *cells in rows}


@pytest.mark.parametrize(
    ("table", "text", "columns"),
    [
        ("table1", PRINTED_1, COLUMNS_1),
        ("table3", PRINTED_3, COLUMNS_3),
        ("table5", PRINTED_5, COLUMNS_5),
        ("table6", PRINTED_6, ("SigLIP", "ImageBind")),
        ("table12", PRINTED_12, ("CLIP only", "victim only", "both")),
    ],
    ids=["table1", "table3", "table5", "table6", "table12"],
)
def test_every_number_is_the_papers(table: str, text: str, columns: tuple[str, ...]) -> None:
    expected = {(head, c): v for head, row in lines(text).items() for c, v in zip(columns, row, strict=True)}
    assert load_table(f"cgd/{table}").values == expected


def test_every_number_of_table_10_is_the_papers() -> None:
    values = load_table("cgd/table10").values
    for attack, row in lines(PRINTED_10).items():
        keys = [(rate, attack, who) for rate in ("1 %", "10 %") for who in ("NoDef", "CGD")]
        assert [values[key] for key in keys] == row
    assert len(values) == 48


@pytest.mark.parametrize(
    ("table", "mean", "of"),
    [("table1", ("mean", "CGD"), 11), ("table3", ("mean", "FP, SC"), 4), ("table5", ("mean", "all"), 4),
     ("table10", ("1 %", "mean", "NoDef"), 11), ("table12", ("mean", "CLIP only"), 4),
     ("table4", ("GTSRB", "mean", "CGD"), 4)],
)  # fmt: skip
def test_printed_means_are_means_over_what_the_notes_say(table: str, mean: tuple[str, ...], of: int) -> None:
    values = load_table(f"cgd/{table}").values
    place = mean.index("mean")
    parts = [v for key, v in values.items() if key[place] != "mean" and _without(key, place) == _without(mean, place)]
    assert len(parts) == of
    for i in (0, 1):
        assert sum(float(part[i]) for part in parts) / of == pytest.approx(float(values[mean][i]), abs=0.06)


def _without(key: tuple[str, ...], place: int) -> tuple[str, ...]:
    return key[:place] + key[place + 1 :]


def test_what_the_notes_say_follows_from_the_tables() -> None:
    one, ten = load_table("cgd/table1").values, load_table("cgd/table10").values
    same = [attack for attack in lines(PRINTED_10) if one[(attack, "NoDef")] == ten[("10 %", attack, "NoDef")]]
    assert same == ["BadNets", "Blend", "WaNet", "BPP", "IAB", "SSBA", "CTRL"]
    assert all(ten[("1 %", "BPP", who)] == ten[("10 %", "BPP", who)] for who in ("NoDef", "CGD"))
    four = load_table("cgd/table4").values
    lost = float(four[("GTSRB", "Clean-label", "NoDef")][0]) - float(four[("GTSRB", "Clean-label", "CGD")][0])
    assert lost == pytest.approx(3.7)
    twelve = load_table("cgd/table12").values
    victim = [float(twelve[(category, "victim only")][1]) for category in CATEGORIES]
    assert sum(victim[:4]) / 4 == pytest.approx(24.7, abs=0.05)
    assert victim[4] == 25.1
    drops = load_table("cgd/table7")
    assert drops.numbers[0] == PaperNumber("CA drop", "ma", drop=True)
    assert max(float(values[0]) for values in drops.values.values()) == 4.2, "CA drops by 4.2 points at most"
    assert drops.values[("SVHN", "BPP", "CGD")] == (1.4, 100.0)
    assert len(drops.labels("dataset")) == 17


def the_matrix(name: str) -> Matrix:
    return matrix(Options(preset=name, seeds=(1,)))


@pytest.mark.parametrize("name", PRESET_NAMES)
def test_every_cell_is_valid_and_its_names_are_there(name: str) -> None:
    cells = the_matrix(name).cells()
    for cell in cells:
        config = cell.config
        assert config.strategy == "central"
        assert config.poison.central
        assert config.poison.share_of == "all"
        assert config.attack.name in ATTACKS
        assert config.model.name in MODELS
        assert config.repair.name in {"none", *REPAIRS}
        assert config.splitter.name in {"none", *SPLITTERS}
        if name.endswith("-small"):
            assert config.task.dataset == "fashion-mnist-slice"
            assert config.guide.model == "tiny"
    assert cells


@pytest.mark.parametrize("name", PRESET_NAMES)
def test_every_cell_of_the_paper_is_run_or_its_remarks_say_why_not(name: str) -> None:
    found = the_matrix(name)
    table = load_table(found.paper)
    seen = set()
    for cell in found.cells():
        ours = [(axis, value_text(cell.labels[axis])) for axis in table.axes]
        seen.add(tuple(found.paper_labels.get(axis, {}).get(label, label) for axis, label in ours))
    said, stem = " ".join(found.remarks), name.removeprefix("cgd/").removesuffix("-small")
    missing = {key for key in set(table.values) - seen if "mean" not in key}
    if not name.endswith("-small"):
        assert all((stem, key[-1]) in NOT_BUILT and key[-1] in said for key in missing), missing
    assert not {column for of, column in NOT_BUILT if of == stem} & {key[-1] for key in seen}


@pytest.mark.parametrize("name", PRESET_NAMES)
def test_every_setting_has_its_reason(name: str) -> None:
    found = the_matrix(name)
    reasons = {**found.stated, **found.assumed, **found.changed}
    varied = {key for axis in found.axes for key in axis.keys}
    assert {*found.settings, *varied} - set(reasons) == set()
    assert set(reasons) <= set(flatten(load({})))
    assert set(found.numbers) <= set(MEASURES)
    assert found.reference == "NoDef"


def test_the_loss_of_table_5_has_the_terms_that_its_labels_say() -> None:
    for cell in the_matrix("cgd/table5").cells():
        terms, settings = str(cell.labels["terms"]), flatten(cell.config)
        if terms == "NoDef":
            continue
        parts = {"un", "re", "distill"} if terms == "all" else set(terms.split("+"))
        on = {
            "un": settings["repair.cgd-unlearn.lambda_un"] == 0.025,
            "re": settings["repair.cgd-unlearn.retain"] is True,
            "distill": settings["repair.cgd-unlearn.lambda_d"] == 0.0005,
        }
        assert {name for name, is_on in on.items() if is_on} == parts


def test_every_preset_of_a_table_has_its_paper_and_the_other_way_round() -> None:
    assert sorted(table_names("cgd")) == sorted(TABLES)
    files = {path.stem for path in (PRESETS / "cgd").glob("table*.toml")}
    assert files == {name.partition("/")[2] for name in PRESET_NAMES}


def test_the_command_prints_what_the_paper_says(fedcrucible) -> None:
    shown = fedcrucible("paper", "cgd", "table1", "--numbers").stdout
    assert "CA / ASR in percent" in shown
    assert re.search(r"^GCB .*92\.30/0\.00$", shown, re.MULTILINE)
    assert "ReBack" in shown


def test_the_docs_count_the_runs_of_the_small_twins() -> None:
    text = (ROOT / "docs" / "cgd.md").read_text(encoding="utf-8")
    for table in TABLES:
        (line,) = [line for line in text.splitlines() if line.startswith(f"| `{table}` ")]
        assert line.split("|")[3].split()[0] == str(len(the_matrix(f"cgd/{table}-small").cells()))
