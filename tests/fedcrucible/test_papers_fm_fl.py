"""FM-FL's tables and figures as data, and the presets that run them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from attacks.adversary import ATTACKS
from defenses.base import REPAIRS, RULES
from fedcrucible.comparison.plan.matrix import Matrix
from fedcrucible.comparison.plan.request import Options, matrix
from fedcrucible.papers.tables import PaperNumber, Value, load_table, table_names
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.load import flatten, load
from fedcrucible_core.config.preset import PRESETS, load_preset
from fedcrucible_core.config.values import value_text
from fedcrucible_core.reports.statistics.measures import MEASURES
from fedcrucible_core.rooms import ROOT

TABLES = ["fig2", "fig3", "table1", "table2", "table3", "table4", "table5"]
PRESET_NAMES = [f"fm-fl/{table}{size}" for table in TABLES for size in ("", "-small")]
SEVEN = ("NormThr", "DP", "Krum", "ClipCluster", "SignGuard", "RFOUT", "Pruning")
CONDITIONS = ("AF-FL", "BD-FL", "BD-FMFL")

PRINTED_1 = """
device C10 IID 66.28/3.87 66.70/3.96 63.92/96.36 ; nonIID 89.03/7.63 89.00/8.08 88.14/93.54
device C100 IID 31.02/0.52 29.58/7.28 30.40/89.58 ; nonIID 61.82/0.53 60.39/2.65 60.28/81.64
silo C10 IID 81.60/1.96 81.28/40.58 81.66/93.83 ; nonIID 94.23/11.25 94.17/29.44 94.38/92.13
silo C100 IID 43.04/0.33 42.82/63.87 43.32/87.31 ; nonIID 61.24/0.41 60.92/19.60 60.92/83.37
"""
PRINTED_3 = """
device C10 IID 65.46/3.76 63.98/4.73 64.54/96.45 ; nonIID 88.06/7.61 88.40/8.05 87.58/92.47
device C100 IID 30.52/0.47 30.44/5.06 29.68/89.36 ; nonIID 61.89/0.53 61.12/4.30 59.99/85.23
silo C10 IID 80.64/2.28 79.70/33.03 80.04/93.77 ; nonIID 94.83/8.20 94.69/24.05 94.58/92.69
silo C100 IID 41.58/0.34 40.60/29.29 40.78/88.13 ; nonIID 63.25/0.36 63.63/22.34 62.56/86.89
"""
PRINTED_2 = """
silo C10 IID 3.14/72.42 15.28/80.24 1.72/93.36 0.50/92.83 0.21/92.77 0.02/92.84 0.56/84.79
silo C10 nonIID 0.74/71.13 18.45/69.27 44.44/83.70 0.28/89.40 0.20/89.80 0.29/90.43 0.67/62.98
silo C100 IID 3.46/70.13 15.90/67.18 1.14/87.09 0.08/89.00 0.00/88.99 0.12/88.98 1.22/77.84
silo C100 nonIID 3.75/45.51 3.99/43.74 12.74/79.17 0.45/79.99 0.19/81.12 0.02/81.50 1.89/64.85
device C10 IID 4.41/95.53 6.41/96.29 0.30/96.32 0.12/96.37 0.02/96.39 0.24/96.35 0.56/84.79
device C10 nonIID 12.90/89.50 16.93/90.16 17.05/92.74 10.07/95.92 0.38/92.92 0.06/92.72 1.48/71.60
device C100 IID 2.55/82.18 11.40/82.20 1.30/89.57 0.52/90.94 0.36/90.98 0.44/90.94 0.70/83.79
device C100 nonIID 3.39/55.29 3.66/53.90 11.68/79.59 0.29/89.13 0.08/89.20 0.09/89.17 0.15/64.78
"""
PRINTED_4 = """
silo C10 IID 3.28/77.39 16.22/87.35 0.52/93.74 1.22/93.47 0.34/93.75 0.40/93.74 2.90/72.55
silo C10 nonIID 1.48/87.54 3.64/87.60 31.58/89.02 0.36/89.30 0.32/90.98 0.21/91.03 0.69/64.73
silo C100 IID 3.76/69.82 14.70/64.65 0.10/87.96 1.58/89.35 0.80/89.22 0.48/89.26 1.14/81.05
silo C100 nonIID 3.92/55.04 4.15/51.78 6.04/85.92 1.52/84.24 0.27/84.76 0.14/64.77 1.12/71.01
device C10 IID 4.00/95.55 7.20/95.95 5.20/96.40 4.48/95.37 0.10/96.46 0.10/96.38 1.72/87.19
device C10 nonIID 6.78/88.86 5.23/89.42 22.84/91.55 14.73/95.66 0.38/92.33 0.34/92.41 2.21/72.91
device C100 IID 3.70/80.34 9.60/81.95 0.75/89.04 0.10/90.93 0.02/90.95 4.24/92.81 0.74/84.06
device C100 nonIID 3.95/58.92 4.57/58.96 8.94/83.28 0.12/89.16 0.34/93.00 0.24/89.12 0.44/62.22
"""
PRINTED_5 = """
homo IID 89.73/76.07 2.13/71.34 11.50/40.25 1.11/75.21 0.31/37.81
homo nonIID 96.26/71.00 0.78/66.83 8.97/38.76 0.45/69.87 1.06/65.66
hete IID 89.03/79.17 0.92/78.56 16.57/43.94 0.48/76.27 2.05/62.88
hete nonIID 95.75/76.96 1.41/74.60 14.51/50.83 7.31/64.29 0.87/71.17
"""
FULL = {"C10": "CIFAR-10", "C100": "CIFAR-100", "nonIID": "non-IID", "IID": "IID"}


def pairs(cells: list[str]) -> list[tuple[float, ...]]:
    return [tuple(map(float, cell.split("/"))) for cell in cells]


def printed(text: str, columns: tuple[str, ...]) -> dict[tuple[str, ...], tuple[Value, ...]]:
    """A table as it was copied from the paper, parsed apart from the data files."""
    found: dict[tuple[str, ...], tuple[Value, ...]] = {}
    for line in text.split("\n")[1:-1]:
        place, data, rest = line.split(" ", 2)
        for part in rest.split(" ; "):
            partition, *cells = part.split()
            setting = f"cross-{place} {FULL[data]}"
            for column, values in zip(columns, pairs(cells), strict=True):
                found[(setting, FULL[partition], column)] = values
    return found


@pytest.mark.parametrize(
    ("table", "text", "columns"),
    [
        ("table1", PRINTED_1, CONDITIONS),
        ("table2", PRINTED_2, SEVEN),
        ("table3", PRINTED_3, CONDITIONS),
        ("table4", PRINTED_4, SEVEN),
    ],
    ids=["table1", "table2", "table3", "table4"],
)
def test_every_number_is_the_papers(table: str, text: str, columns: tuple[str, ...]) -> None:
    found = load_table(f"fm-fl/{table}")
    assert found.values == printed(text, columns)
    assert len(found.values) == 8 * len(columns)


def test_every_number_of_table_5_is_the_papers() -> None:
    values = load_table("fm-fl/table5").values
    for line in PRINTED_5.split("\n")[1:-1]:
        federation, partition, *cells = line.split()
        (acc, asr), *defended = pairs(cells)
        assert values[(federation, FULL[partition], "undefended")] == (acc, "", asr)
        for name, (drop, rate) in zip(("NormThr", "DP", "Krum", "Pruning"), defended, strict=True):
            assert values[(federation, FULL[partition], name)] == ("", drop, rate)
    assert len(values) == 20


@pytest.mark.parametrize("table", TABLES)
def test_values_name_their_numbers_and_ours_beside_them(table: str) -> None:
    found = load_table(f"fm-fl/{table}")
    assert found.source
    assert found.notes
    assert {number.ours for number in found.numbers} <= set(MEASURES)
    assert all(isinstance(value, str) or 0 <= value <= 100 for values in found.values.values() for value in values)
    assert all(isinstance(values[0], str) for values in found.values.values()) == table.startswith("fig")


def test_a_drop_is_declared_where_the_paper_prints_one() -> None:
    drop, asr = load_table("fm-fl/table2").numbers
    assert drop == PaperNumber("ACC drop", "client_ma_last3", drop=True)
    assert asr == PaperNumber("ASR", "client_asr_last3")


def test_what_the_notes_say_follows_from_the_tables() -> None:
    one, two, three, four = (load_table(f"fm-fl/table{number}").values for number in (1, 2, 3, 4))
    rise = max(float(v[1]) - float(one[(key[0], key[1], "BD-FMFL")][1]) for key, v in two.items())
    assert rise == pytest.approx(7.56)
    rise = max(float(v[1]) - float(three[(key[0], key[1], "BD-FMFL")][1]) for key, v in four.items())
    assert rise == pytest.approx(7.77)
    assert max(float(values[0]) for values in two.values()) == 44.44
    assert max(float(values[0]) for values in four.values()) == 31.58
    silo, device = (two[(f"cross-{place} CIFAR-10", "IID", "Pruning")] for place in ("silo", "device"))
    assert silo == device


def the_matrix(name: str) -> Matrix:
    return matrix(Options(preset=name))


@pytest.mark.parametrize("name", PRESET_NAMES)
def test_every_cell_is_valid_and_its_names_are_there(name: str) -> None:
    cells = the_matrix(name).cells()
    for cell in cells:
        config = cell.config
        assert config.strategy == "fm-fl"
        assert config.attack.name in ATTACKS
        assert config.attack.trigger in ATTACKS
        assert config.defense.name in {"auto", *RULES}
        assert config.repair.name in {"auto", *REPAIRS}
        assert config.poison.target_label == 0
    assert cells


@pytest.mark.parametrize("name", PRESET_NAMES)
def test_every_cell_of_the_paper_is_run(name: str) -> None:
    """The full presets cover the whole table; what has no value there is the undefended row of a drop."""
    found = the_matrix(name)
    table = load_table(found.paper)
    seen = set()
    for cell in found.cells():
        ours = [(axis, value_text(cell.labels[axis])) for axis in table.axes]
        seen.add(tuple(found.paper_labels.get(axis, {}).get(label, label) for axis, label in ours))
    extra = seen - set(table.values)
    assert all(key[-1] == "undefended" for key in extra)
    if not name.endswith("-small"):
        assert set(table.values) <= seen


@pytest.mark.parametrize("name", PRESET_NAMES)
def test_every_setting_has_its_reason(name: str) -> None:
    found = the_matrix(name)
    reasons = {**found.stated, **found.assumed, **found.changed}
    varied = {key for axis in found.axes for key in axis.keys}
    assert {*found.settings, *varied} <= set(reasons)
    assert set(reasons) <= set(flatten(load({})))


@pytest.mark.parametrize("name", PRESET_NAMES)
def test_systems_and_columns_are_those_of_the_paper(name: str) -> None:
    found = the_matrix(name)
    defended = name.removesuffix("-small") in ("fm-fl/table2", "fm-fl/table4", "fm-fl/table5")
    assert found.system_axis == ("defence" if defended else "strategy")
    assert found.reference == ("undefended" if defended else "")
    assert found.column_axis in ("partition", "condition", "study")
    assert set(found.numbers) <= set(MEASURES)


def test_the_full_presets_are_at_the_papers_scale() -> None:
    config = load(load_preset("fm-fl/table1"))
    assert (config.run.rounds, config.training.local_epochs, config.fm_fl.kd_epochs) == (50, 5, 5)
    assert (config.fm_fl.pretrain_lr, config.training.lr, config.fm_fl.kd_lr) == (2e-3, 1e-3, 5e-4)
    assert (config.fm_fl.alpha, config.fm_fl.temperature, config.fm_fl.pretrain_epochs) == (0.2, 1.0, 150)
    text = load(load_preset("fm-fl/table5"))
    assert (text.fm_fl.pretrain_lr, text.training.lr, text.fm_fl.kd_lr) == (2e-5, 1e-5, 5e-6)
    assert (text.task.dataset, text.model.name, text.synthetic.source) == ("ag-news", "distilbert", "llm")
    for cell in the_matrix("fm-fl/table1").cells():
        config = cell.config
        assert config.synthetic.per_class * (100 if config.task.dataset == "cifar100" else 10) == 10_000
        clients = (config.federation.clients, config.federation.fraction_train)
        assert clients in {(100, 0.1), (20, 0.4), (10, 1.0), (5, 1.0)}


def test_the_small_twins_need_nothing_that_does_not_ship() -> None:
    for name in PRESET_NAMES[1::2]:
        for cell in the_matrix(name).cells():
            config = cell.config
            assert config.task.dataset == ("wn4" if "table5" in name else "fashion-mnist-slice")
            assert config.synthetic.source in ("flow", "markov")
            assert config.guide.model == "tiny"


def test_ldi_keeps_the_epochs_of_distillation() -> None:
    for name, kd in (("fm-fl/fig3", 4), ("fm-fl/fig3-small", 2)):
        found = {str(cell.labels["study"]): cell.config for cell in the_matrix(name).cells()}
        ldi = {label: config for label, config in found.items() if label.startswith("LDI")}
        assert {config.fm_fl.kd_epochs for config in ldi.values()} == {kd}
        ratios = [config.training.local_epochs / config.fm_fl.kd_epochs for config in ldi.values()]
        assert ratios == [float(label.split()[1]) for label in ldi]


def test_every_preset_of_a_table_has_its_paper_and_the_other_way_round() -> None:
    assert table_names("fm-fl") == TABLES
    assert {name.partition("/")[2] for name in PRESET_NAMES} <= {
        path.stem for path in (PRESETS / "fm-fl").glob("*.toml")
    }


def test_the_axis_that_competes_must_be_there(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text('[compare]\nstrategies = ["fedavg"]\nsystems = "defense"\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"compare\.systems"):
        matrix(Options(preset=str(path)))


def test_the_command_prints_what_the_paper_says(fedcrucible) -> None:
    shown = fedcrucible("paper", "fm-fl", "table2", "--numbers").stdout
    assert "ACC drop / ASR in percent" in shown
    assert "44.44/83.70" in shown
    assert "RFOUT can't change anything" in shown
    rows = json.loads(fedcrucible("paper", "fm-fl", "table5", "--numbers", "--json").stdout)["rows"]
    row = {"federation": "homo", "partition": "IID", "defence": "DP", "ACC": "", "ACC drop": 11.5, "ASR": 40.25}
    assert row in rows
    figure = fedcrucible("paper", "fm-fl", "fig3", "--numbers").stdout
    assert "above 80" in figure
    assert max(map(len, figure.splitlines()[1:25])) < 80


def test_the_docs_count_the_runs_of_the_small_twins() -> None:
    text = (ROOT / "docs" / "fm-fl.md").read_text(encoding="utf-8")
    for table in TABLES:
        (line,) = [line for line in text.splitlines() if line.startswith("| `fm-fl/") and f"`fm-fl/{table}`" in line]
        assert line.split("|")[3].split()[0] == str(len(the_matrix(f"fm-fl/{table}-small").cells()))
