"""Cells that compute the same are one run; cells that don't never are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from attacks.poisoner import POISONERS
from attacks.poisoners.badnets import BadNets
from fedcrucible.comparison.execution.run import distinct
from fedcrucible.comparison.execution.store import Failures, Store
from fedcrucible.comparison.plan.cell import Cell
from fedcrucible_core.config.load import default_keys, load
from fedcrucible_core.config.preset import load_preset
from fedcrucible_core.config.values import Scalar
from server_app.identity import digest, identity
from tests.support.invented_cells import invent

SMOKE = load_preset("smoke")


def key(**changes: Scalar) -> str:
    settings = {name.replace("__", "."): value for name, value in changes.items()}
    return digest(load({**SMOKE, "strategy": "fedavg", **settings}))


def test_what_changes_numbers_changes_the_identity() -> None:
    others = [
        key(run__seed=2),
        key(run__rounds=3),
        key(strategy="flame"),
        key(attack__name="none"),
        key(adversary__malicious_fraction=0.5),
        key(attack__badnets__size=2),
        key(defense__fedavg__max_weight=0.5),
        key(task__train_samples=200),
        key(partition__name="main-class"),
        key(run__eval_every=2),
    ]
    assert len({key(), *others}) == len(others) + 1


def test_where_things_lie_does_not_count() -> None:
    assert key() == key(output__name="mine", output__report=False, run__checkpoint_every=3, guide__cache_dir="/tmp/x")


def test_components_that_the_run_cannot_reach_do_not_count() -> None:
    """Neither a new component nor a preset that says something about another one makes old results void."""
    names = identity(load({**SMOKE, "strategy": "fedavg"}))
    assert not any(name.startswith(("defense.flame.", "purifier.clip-guided.", "model.resnet8.")) for name in names)
    assert "defense.fedavg.max_weight" in names
    assert key() == key(defense__flame__noise=0.5)


def test_components_that_a_chosen_one_names_do_count() -> None:
    """The trigger that lp plants, the rule that lp-adaptive simulates."""
    assert key(attack__name="badnets") == key(attack__name="badnets", attack__trigger="blend"), "planted by none"
    assert key(attack__name="gaussian") == key(attack__name="gaussian", attack__trigger="blend"), "planted by none"
    assert key(attack__name="lp") != key(attack__name="lp", attack__badnets__size=2)
    assert key(attack__name="lp") == key(attack__name="lp", attack__blend__alpha=0.5)
    borrowed: dict[str, Scalar] = {"attack__name": "lp", "attack__trigger": "blend"}
    assert key(**borrowed) != key(**borrowed, attack__blend__alpha=0.5)
    simulated: dict[str, Scalar] = {"attack__name": "lp-adaptive", "attack__lp_adaptive__simulate": "flame"}
    simulated["attack.lp-adaptive.simulate"] = simulated.pop("attack__lp_adaptive__simulate")
    assert key(**simulated) != key(**simulated, defense__flame__noise=0.5)
    assert key(strategy="flame") != key(strategy="flame", defense__flame__noise=0.5)


class SamePatch(BadNets):
    """Another attack with BadNets' trigger."""

    name = "same-patch"


class OtherPatch(BadNets):
    """Another attack with a trigger of its own."""

    name = "other-patch"
    size: int = 2


@pytest.fixture
def _two_more_attacks(monkeypatch: pytest.MonkeyPatch) -> None:
    default_keys()  # the configuration's type is made once, without them
    for attack in (SamePatch, OtherPatch):
        monkeypatch.setitem(POISONERS._classes, attack.name, attack)


def unattacked(attack: str, **changes: Scalar) -> str:
    return key(attack__name=attack, adversary__malicious_fraction=0.0, **changes)


@pytest.mark.usefixtures("_two_more_attacks")
def test_without_attackers_attacks_that_share_a_trigger_are_one_run() -> None:
    same = [unattacked("badnets"), unattacked("same-patch"), unattacked("badnets", poison__ratio=0.9)]
    assert len(set(same)) == 1
    different = [
        unattacked("other-patch"),
        unattacked("none"),
        unattacked("badnets", poison__target_label=1),
        unattacked("badnets", attack__badnets__size=5),
    ]
    assert len({same[0], *different}) == len(different) + 1


def test_a_share_that_is_nobody_is_no_chosen_control() -> None:
    """Its record says that an attack was to take place; whose record says so mustn't depend on which ran first."""
    nobody = [key(attack__name="min-max", adversary__malicious_fraction=share) for share in (0.1, 0.2)]
    control = key(attack__name="min-max", adversary__malicious_fraction=0.0)
    assert control == key(attack__name="none") == key(attack__name="none", adversary__malicious_fraction=0.1)
    assert len({*nobody, control}) == 3
    assert nobody[0] == key(attack__name="alie", adversary__malicious_fraction=0.1), "told of both alike"
    zero_shot: dict[str, Scalar] = {"strategy": "guide-zero-shot", "attack__name": "min-max"}
    assert key(**zero_shot, adversary__malicious_fraction=0.1) == key(**zero_shot, adversary__malicious_fraction=0.0)


def test_without_an_attack_its_settings_do_not_count() -> None:
    assert key(attack__name="none") == key(attack__name="none", adversary__malicious_fraction=0.5, poison__ratio=0.1)


def test_without_attackers_the_window_of_the_attack_still_counts() -> None:
    """The greatest ASR is sought, and ASR after the attack's end measured, in these rounds."""
    assert unattacked("badnets") != unattacked("badnets", adversary__start_round=2)


def test_labels_do_not_count() -> None:
    cells = [Cell({"name": name, "seed": 1}, {**SMOKE, "strategy": "fedavg"}) for name in ("one", "two")]
    assert [cell.labels["name"] for cell in distinct(cells)] == ["one"]


def test_a_record_is_found_by_what_it_computed_not_by_its_name(tmp_path: Path) -> None:
    cell = Cell({"seed": 1}, {**SMOKE, "strategy": "fedavg"})
    other = Cell({"seed": 2}, {**SMOKE, "strategy": "fedavg", "run.seed": 2})
    invent(Store(tmp_path), cell, (50.0, 5.0)).rename(tmp_path / "by another name")
    store = Store(tmp_path)
    assert store.finished(cell) == tmp_path / "by another name"
    assert store.finished(other) is None


def test_a_record_without_a_key_stands_for_what_was_computed_before_there_was_one(tmp_path: Path) -> None:
    def cell(**changes: Scalar) -> Cell:
        return Cell({"seed": 1}, {**SMOKE, "strategy": "signguard", **changes})

    record = invent(Store(tmp_path), cell(), (50.0, 5.0))
    content = json.loads((record / "config.json").read_text("utf-8"))
    del content["values"]["defense.signguard.bin_seeding"]
    (record / "config.json").write_text(json.dumps(content), "utf-8")
    store = Store(tmp_path)
    assert store.finished(cell()) is None
    assert store.finished(cell(**{"defense.signguard.bin_seeding": False})) == record


@pytest.mark.parametrize("file", ["config.json", "summary.json"])
def test_a_damaged_record_is_no_finished_cell(tmp_path: Path, file: str) -> None:
    cell = Cell({"seed": 1}, {**SMOKE, "strategy": "fedavg"})
    record = invent(Store(tmp_path), cell, (50.0, 5.0))
    if file == "summary.json":
        (record / file).unlink()
    else:
        (record / file).write_text("{", "utf-8")
    assert Store(tmp_path).finished(cell) is None


def test_what_an_interrupted_run_left_is_cleared_and_nothing_else(tmp_path: Path) -> None:
    cell = Cell({"seed": 1}, {**SMOKE, "strategy": "fedavg"})
    store = Store(tmp_path)
    half, neighbour = tmp_path / cell.name, tmp_path / "notes"
    for folder in (half, neighbour):
        folder.mkdir()
        (folder / "metrics.jsonl").write_text("", "utf-8")
    settings = store.settings(cell)
    assert not half.exists()
    assert neighbour.exists()
    assert settings["output.name"] == cell.name
    assert Path(str(settings["output.dir"])) == tmp_path


DAMAGE: dict[str, list[bytes | None]] = {
    "config.json": [b"", b"[]", b"{}", b'{"values": [1]}', b'{"values": {"run.seed": null}}', b"[" * 100_000],
    "run.json": [b"", b"[]", None],
    "summary.json": [b"", b"\x00\xff", b"[]", b"{}", b"[" * 100_000],
    "environment.json": [b"", b"[]"],
    "metrics.jsonl": [b"{}\n", b"\xff\n"],
}


@pytest.mark.parametrize("file", DAMAGE)
def test_damage_is_no_result_and_makes_way_for_one(tmp_path: Path, file: str) -> None:
    cell = Cell({"seed": 1}, {**SMOKE, "strategy": "fedavg"})
    for number, content in enumerate(DAMAGE[file]):
        folder = tmp_path / str(number)
        record = invent(Store(folder), cell, (50.0, 5.0))
        if content is None:
            (record / file).unlink()
        else:
            (record / file).write_bytes(content)
        store = Store(folder)
        assert store.finished(cell) is None
        assert store.damage(cell)
        assert store.settings(cell)["output.name"] == record.name
        assert not record.exists()
        invent(store, cell, (60.0, 6.0))
        assert store.add(cell) == record
        assert store.damage(cell) == ""


def test_a_folder_in_the_place_of_a_summary_is_no_result(tmp_path: Path) -> None:
    cell = Cell({"seed": 1}, {**SMOKE, "strategy": "fedavg"})
    record = invent(Store(tmp_path), cell, (50.0, 5.0))
    (record / "summary.json").unlink()
    (record / "summary.json").mkdir()
    assert Store(tmp_path).finished(cell) is None


@pytest.mark.parametrize("content", [b"", b"\xff", b"{}", b'["a"]', b'[{"cause": 1}]', b'{"cell": 1}', b"[" * 100_000])
def test_damaged_causes_are_forgotten(tmp_path: Path, content: bytes) -> None:
    cell = Cell({"seed": 1}, {**SMOKE, "strategy": "fedavg"})
    path = tmp_path / "failures.json"
    path.write_bytes(content)
    failures = Failures(path)
    assert failures.cause(cell) == ""
    failures.add(cell, "no luck", 1.0)
    assert Failures(path).cause(cell) == "no luck"
