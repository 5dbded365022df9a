"""Keys, defaults, presets and the way back and forth between flat settings and RunConfig."""

from __future__ import annotations

import contextlib
import pickle
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedcrucible_core.config import Component, ConfigError
from fedcrucible_core.config.describe import key_info
from fedcrucible_core.config.load import default_keys, flatten, load, load_assignments, parse_assignment
from fedcrucible_core.config.preset import load_preset, preset_names

KEYS = default_keys()
PYPROJECT = Path(__file__).resolve().parents[3] / "pyproject.toml"


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in table.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def test_pyproject_lists_every_key_with_its_default() -> None:
    """`python tools/sync_config.py` brings the table up to date."""
    table = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["tool"]["flwr"]["app"]["config"]

    listed = _flat(table)
    assert listed == KEYS
    assert {key: type(value) for key, value in listed.items()} == {key: type(value) for key, value in KEYS.items()}


def test_flatten_and_load_are_inverse() -> None:
    assert flatten(load({})) == KEYS
    changed = KEYS | {"strategy": "flame", "run.seed": 7, "attack.badnets.size": 5, "output.report": False}
    assert flatten(load(changed)) == changed


@pytest.mark.parametrize("key", KEYS)
def test_every_key_says_what_it_is(key) -> None:
    info = key_info(key)

    assert info.description
    assert info.allowed
    assert info.kind in ("whole number", "number", "text", "true or false", "choice")
    assert info.default == KEYS[key]
    assert (info.kind == "choice") == bool(info.choices)


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_loads(name) -> None:
    assert load_preset(name)
    load(load_preset(name))


def test_a_preset_file_may_use_tables(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("strategy = 'flame'\n[run]\nseed = 2\n[attack.badnets]\nsize = 4\n", "utf-8")

    assert load_preset(str(tmp_path / "mine.toml")) == {"strategy": "flame", "run.seed": 2, "attack.badnets.size": 4}


@pytest.mark.parametrize(
    ("key", "given_", "kept"),
    [
        ("run.rounds", "3", 3),
        ("run.rounds", 3.0, 3),
        ("training.lr", 1, 1.0),
        ("training.lr", "0.5", 0.5),
        ("run.resume", "true", True),
        ("output.name", 7, "7"),
        ("adversary.malicious_ids", 3, "3"),
        ("attack.badnets.colour", 0.5, "0.5"),
    ],
)
def test_values_take_the_type_of_their_key(key, given_, kept) -> None:
    value = flatten(load({key: given_}))[key]

    assert (type(value), value) == (type(kept), kept)


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("run.seed=2", ("run.seed", 2)),
        ("run.seed = 2", ("run.seed", 2)),
        ("training.lr=1e-3", ("training.lr", 0.001)),
        ("run.resume=true", ("run.resume", True)),
        ("strategy=clip-fed", ("strategy", "clip-fed")),
        ("strategy='clip-fed'", ("strategy", "clip-fed")),
        ("guide.templates=a {} | b {}", ("guide.templates", "a {} | b {}")),
        ("output.name=2024_01", ("output.name", "2024_01")),
        ("output.name=2024-01-01", ("output.name", "2024-01-01")),
        ("output.dir=", ("output.dir", "")),
        ("output.dir=/a=b", ("output.dir", "/a=b")),
        ("adversary.malicious_ids=1,2", ("adversary.malicious_ids", "1,2")),
        ("guide.templates=a {}\nb = 2", ("guide.templates", "a {}\nb = 2")),
    ],
)
def test_assignments_of_the_command_line(text, pair) -> None:
    assert parse_assignment(text) == pair


def test_of_a_key_given_twice_the_last_counts() -> None:
    assert load_assignments(["run.seed=1", "run.seed=2"]) == {"run.seed": 2}


def test_the_error_crosses_process_borders() -> None:
    error = ConfigError("run.seed", -1, "at least 0")

    copy = pickle.loads(pickle.dumps(error))
    assert (copy.key, copy.value, copy.allowed, str(copy)) == (error.key, error.value, error.allowed, str(error))


def test_a_very_long_value_is_cut_in_the_message() -> None:
    assert len(str(ConfigError("a", "x" * 5000, "less"))) < 200
    assert "int" in str(ConfigError("a", 10**5000, "less"))


SCALARS = st.one_of(
    st.text(max_size=20),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.sampled_from(["1", "-1", "0.5", "nan", "inf", "true", "", "a,b", "9" * 5000, "\x00", "\ud800"]),
)
FUZZ = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@FUZZ
@given(st.dictionaries(st.one_of(st.sampled_from(sorted(KEYS)), st.text(max_size=12)), SCALARS, max_size=4))
def test_no_setting_raises_anything_but_a_config_error(chosen) -> None:
    try:
        config = load(chosen)
    except ConfigError:
        return
    flat = flatten(config)
    assert {key: type(value) for key, value in flat.items()} == {key: type(value) for key, value in KEYS.items()}
    assert load(flat) == config


@FUZZ
@given(st.one_of(st.text(max_size=30), st.builds("{}={}".format, st.sampled_from(sorted(KEYS)), st.text(max_size=20))))
def test_no_assignment_raises_anything_but_a_config_error(text) -> None:
    with contextlib.suppress(ConfigError):
        load_assignments([text])


@pytest.mark.parametrize("text", ["run.seed=" + "[" * 5000, "run.seed=" + "9" * 5000, "run.seed={a=1}"])
def test_hostile_assignments_are_refused(text) -> None:
    with pytest.raises(ConfigError):
        load(load_assignments([text]))


def test_choices_that_are_no_texts_are_refused_where_they_are_written() -> None:
    with pytest.raises(TypeError, match=r"Turned\.degrees: choices must be texts"):

        class Turned(Component):
            degrees: Literal[90, 180] = 180


def test_what_clients_are_sent_can_be_read_there() -> None:
    assert load(flatten(load({}))) == load({})
    with pytest.raises(ConfigError, match=r"repair\.d-br\.degrees = 45: .* from 90 to 180 in steps of 90"):
        load({"repair.d-br.degrees": 45})
