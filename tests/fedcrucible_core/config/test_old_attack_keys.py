"""Keys of the attack section as it was: every one still loads, in settings, presets and records."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest

from attacks.adversary import Adversary
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.load import default_keys, flatten, load, load_assignments, overlaid
from fedcrucible_core.config.old_keys import PLANTING, RENAMED, OldKeyWarning, modern
from fedcrucible_core.config.preset import load_preset
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.records.reader import read_settings
from server_app.identity import digest

OTHER: dict[str, Scalar] = {
    "attack.target_label": 3, "attack.poison_ratio": 0.5, "attack.poison_mode": "append-all",
    "attack.poison_scope": "all", "attack.malicious_fraction": 0.5, "attack.malicious_ids": "1,2",
    "attack.participation": "exact", "attack.collusion": "alone", "attack.start_round": 2, "attack.stop_round": 9,
    "attack.every": 2, "attack.local_epochs": 3, "attack.lr": 0.5, "attack.pgd.every": 4,
}  # fmt: skip


@pytest.mark.parametrize("old", [key for key in RENAMED if key.startswith("attack.")])
def test_every_old_key_loads_with_one_line(old: str) -> None:
    new, value = RENAMED[old], OTHER[old]
    assert new in default_keys()
    with pytest.warns(OldKeyWarning, match=f"{old} is now {new}") as seen:
        assert flatten(load({old: value}))[new] == value
    assert len(seen) == 1
    assert value != default_keys()[new]


@pytest.mark.parametrize("name", PLANTING)
def test_the_chosen_attacks_trigger_is_the_trigger(name: str) -> None:
    with pytest.warns(OldKeyWarning, match=f"attack.{name}.trigger is now attack.trigger"):
        config = load({"attack.name": name, f"attack.{name}.trigger": "blend", "attack.lp.tau": 0.5})
    assert Adversary.of(config).poisoner.name == "blend"


def test_the_triggers_of_others_had_no_effect_and_are_dropped() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        config = load({"attack.name": "pgd", "attack.lp.trigger": "blend", "attack.afa.trigger": "sig"})
    assert config.attack.trigger == "badnets"


@pytest.mark.parametrize(("old", "new"), [(0, -1.0), (0.0, -1.0), ("0", -1.0), (1.5, 1.5)])
def test_alies_automatic_deviations_keep_their_meaning(old: Scalar, new: float) -> None:
    with pytest.warns(OldKeyWarning, match=r"attack.alie.z is now attack.alie.z_max"):
        assert flatten(load({"attack.alie.z": old}))["attack.alie.z_max"] == new


@pytest.mark.parametrize(("first", "second"), [("attack.lr", "adversary.lr"), ("adversary.lr", "attack.lr")])
def test_of_both_names_the_later_counts_as_a_command_line_does(first: str, second: str) -> None:
    preset: dict[str, Scalar] = {first: 0.1}
    found, _ = modern(preset | {second: 0.2})
    assert found == {"adversary.lr": 0.2}


@pytest.mark.parametrize("key", ["attack.malicious_fraction", "attack.poison_mode"])
def test_an_error_names_the_key_that_was_given(key: str) -> None:
    with pytest.warns(OldKeyWarning), pytest.raises(ConfigError, match=f"is now {RENAMED[key]}") as caught:
        load({key: "much"})
    assert caught.value.key == key


OLD_PRESET = """
federation.clients = 100
partition.main-class.q = 0.4
attack.malicious_fraction = 0.2
attack.participation = "random"
attack.target_label = 5
attack.badnets.size = 3
attack.dba.geometry = "square"
attack.poison_mode = "append-all"
attack.poison_scope = "non-target"
[attack.neurotoxin]
trigger = "blend"
"""
NEW_PRESET = """
federation.clients = 100
partition.main-class.q = 0.4
adversary.malicious_fraction = 0.2
adversary.participation = "random"
poison.target_label = 5
attack.badnets.size = 3
attack.dba.geometry = "square"
poison.mode = "append-all"
poison.scope = "non-target"
"""


def test_a_preset_of_an_earlier_version_is_the_same_run(tmp_path: Path) -> None:
    for name, text in (("old", OLD_PRESET), ("new", NEW_PRESET)):
        (tmp_path / f"{name}.toml").write_text(text, encoding="utf-8")
    with pytest.warns(OldKeyWarning):
        old = load(load_preset(str(tmp_path / "old.toml")))
    assert old == load(load_preset(str(tmp_path / "new.toml")))
    with pytest.warns(OldKeyWarning):
        command_line = load(load_preset(str(tmp_path / "new.toml")) | {"attack.malicious_fraction": 0.4})
    assert command_line.adversary.malicious_fraction == 0.4


def test_the_command_line_goes_before_an_old_key_of_the_preset(tmp_path: Path) -> None:
    """The file it builds on has the new key, the preset the old one, the command line the new one again."""
    (tmp_path / "base.toml").write_text("poison.target_label = 1\n", encoding="utf-8")
    (tmp_path / "mine.toml").write_text('preset = "base.toml"\nattack.target_label = 2\n', encoding="utf-8")
    preset = load_preset(str(tmp_path / "mine.toml"))
    assert modern(preset)[0] == {"poison.target_label": 2}
    assert modern(overlaid(preset, load_assignments(["poison.target_label=3"])))[0] == {"poison.target_label": 3}
    repeated = ["poison.target_label=1", "attack.target_label=2", "poison.target_label=3"]
    assert modern(load_assignments(repeated))[0] == {"poison.target_label": 3}


def as_it_was(values: dict[str, Scalar]) -> dict[str, Scalar]:
    """Settings under the keys of the earlier version, all of which a record holds."""
    former = {new: old for old, new in RENAMED.items() if old.startswith("attack.")}
    found = {former.get(key, key): value for key, value in values.items()}
    trigger = found.pop("attack.trigger")
    del found["attack.artefact"]
    found |= {f"attack.{name}.trigger": "badnets" for name in PLANTING}
    if values["attack.name"] in PLANTING:
        found[f"attack.{values['attack.name']}.trigger"] = trigger
    found["attack.alie.z"] = 0.0
    del found["attack.alie.z_max"]
    return found


@pytest.mark.parametrize("name", ["badnets", "alie", "neurotoxin", "none"])
@pytest.mark.parametrize("fraction", [0.0, 0.25])
def test_an_old_record_is_the_same_cell(name: str, fraction: float, tmp_path: Path) -> None:
    chosen: dict[str, Scalar] = {
        "strategy": "fedavg", "task.train_samples": 200, "task.test_samples": 60, "attack.name": name,
        "adversary.malicious_fraction": fraction, "attack.trigger": "blend", "poison.ratio": 0.7,
    }  # fmt: skip
    config = load(chosen)
    old = {"values": as_it_was(flatten(config)), "defaults": as_it_was(default_keys())}
    (tmp_path / "config.json").write_text(json.dumps(old), encoding="utf-8")
    read = read_settings(tmp_path)
    assert not set(read["values"]) - set(default_keys())
    assert digest(load(read["values"])) == digest(config)
