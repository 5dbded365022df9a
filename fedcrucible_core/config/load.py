"""From flat dotted keys to a validated RunConfig and back; every mistake becomes one ConfigError."""

from __future__ import annotations

import tomllib
import unicodedata
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from fedcrucible_core.config.compose import RunConfigBase, run_config_type
from fedcrucible_core.config.describe import allowed, field_of, key_info, kind_of
from fedcrucible_core.config.errors import ConfigError, did_you_mean
from fedcrucible_core.config.old_keys import OldKeyWarning, deprecation, modern
from fedcrucible_core.config.values import Scalar

UNCLEAN = "control characters and broken Unicode are not allowed"
LARGEST_INT = 2**63 - 1
"""Flower's messages hold 64-bit integers."""
WITHOUT_EFFECT = (
    "output.", "run.resume", "run.checkpoint_every", "run.checkpoints_kept", "task.data_dir", "guide.cache_dir",
    "federation.blind", "federation.hidden",
)  # fmt: skip
"""Keys (or sections) that say where things lie or who is told, not what is computed."""
DEFENCE = ("strategy", "defense.", "purifier.", "repair.", "splitter.", "guide.", "synthetic.", "fm_fl.", "client.")
"""Keys (or sections) that belong to the defender, but for ``ARCHITECTURES``; see :func:`is_defence`."""
ARCHITECTURES = ("fm_fl.prototypes", "fm_fl.blocks", "fm_fl.widths", "fm_fl.backbones")
"""Keys of the section fm_fl that say what is trained, as the section ``model`` does: systems face them."""
DATA_IS_THE_PLACE = ("folder", "csv", "jsonl", "npz")
"""Data sets without a name of their own: for them ``task.data_dir`` says what is learned."""
BEFORE: Mapping[str, Scalar] = {"defense.signguard.bin_seeding": False, "defense.signguard-sim.bin_seeding": False}
"""Keys whose default is another than what was computed before they existed: what a record without them stands for."""


SAME: Mapping[str, tuple[Scalar, Scalar]] = {"synthetic.augment": ("auto", "frequency")}
"""Keys with a value that came later -> it, and the older one that stands for the same."""


def as_before(settings: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """The settings with older values in the place of later ones that stand for the same, so that both are one run."""
    found = dict(settings)
    for key, (later, older) in SAME.items():
        if found.get(key) == later:
            found[key] = older
    return found


def of_record(recorded: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """The settings that a record stands for today: those of its keys that are known, and of the others what was.

    A key that the record doesn't know had its default, or what was computed before it existed.
    """
    defaults = default_keys()
    return defaults | dict(BEFORE) | {key: value for key, value in recorded.items() if key in defaults}


def is_defence(key: str) -> bool:
    """Whether a key belongs to the defender: values of such keys compete, those of others are what systems face."""
    return key.startswith(DEFENCE) and key not in ARCHITECTURES


def has_effect(key: str, settings: Mapping[str, Scalar]) -> bool:
    """Whether the numbers of a run with these settings depend on ``key``."""
    if key == "task.data_dir":
        return settings.get("task.dataset") in DATA_IS_THE_PLACE
    return not key.startswith(WITHOUT_EFFECT)


def flatten(model: BaseModel, prefix: str = "") -> dict[str, Scalar]:
    """All keys of a configuration as ``section.key`` or ``section.component.key``, in declaration order."""
    flat: dict[str, Scalar] = {}
    for name, field in type(model).model_fields.items():
        value, key = getattr(model, name), prefix + (field.alias or name)
        if isinstance(value, BaseModel):
            flat |= flatten(value, key + ".")
        else:
            flat[key] = value
    return flat


def default_keys() -> dict[str, Scalar]:
    """Every key with its default: exactly ``[tool.flwr.app.config]`` of pyproject.toml."""
    return flatten(run_config_type().model_validate({}))


def load(settings: Mapping[str, Scalar]) -> RunConfigBase:
    """Validate flat dotted settings (missing keys take their defaults). Raises ConfigError.

    Keys of earlier versions are understood (``old_keys.py``), with one OldKeyWarning.
    """
    settings, old = modern(settings)
    if old:
        warnings.warn(deprecation(old), OldKeyWarning, stacklevel=2)
    try:
        return _validated(settings)
    except ConfigError as error:
        for given, new in old.items():
            if new == error.key:  # named as the user wrote it
                raise ConfigError(given, error.value, f"{error.allowed}; {given} is now {new}") from None
        raise


def _validated(settings: Mapping[str, Scalar]) -> RunConfigBase:
    known = default_keys()
    nested: dict[str, Any] = {}
    for key, given in settings.items():
        if key not in known:
            raise ConfigError(key, given, f"unknown key; {_suggest(key, known)}")
        *path, leaf = key.split(".")
        table = nested
        for part in path:
            table = table.setdefault(part, {})
        table[leaf] = _as_declared(key, given)
    try:
        config = run_config_type().model_validate(nested, strict=False)
    except ValidationError as error:
        raise _translate(error, settings) from None
    for key, value in flatten(config).items():
        if isinstance(value, int) and abs(value) > LARGEST_INT:
            raise ConfigError(key, value, f"too large; allowed: {allowed(key)}")
    return config


def is_clean(text: str) -> bool:
    """Whether a text is free of control characters and of what can't be encoded."""
    return not any(unicodedata.category(character) in ("Cc", "Cs") for character in text)


def _as_declared(key: str, value: Scalar) -> Scalar:
    """Numbers given for a text become that text; texts with control characters and true for a number are refused."""
    kind = kind_of(field_of(key))
    if kind in ("text", "choice"):
        if isinstance(value, (bool, int, float)):
            return str(value).lower() if isinstance(value, bool) else str(value)
        if isinstance(value, str) and not is_clean(value):
            raise ConfigError(key, value, UNCLEAN)
    elif kind != "true or false" and isinstance(value, bool):
        raise ConfigError(key, value, f"not a {kind}; allowed: {allowed(key)}")
    return value


def _suggest(key: str, known: Mapping[str, Scalar]) -> str:
    leaf = key.split(".")[-1]
    same_leaf = [k for k in known if k.split(".")[-1] == leaf]
    if len(same_leaf) == 1:
        return f"did you mean {same_leaf[0]!r}?"
    section = key.split(".")[0]
    siblings = [k for k in known if k.startswith(section + ".")]
    close = did_you_mean(key, siblings) or did_you_mean(key, known)
    if close:
        return close.strip()
    if same_leaf:
        return f"did you mean one of {', '.join(same_leaf)}?"
    if siblings:
        return f"allowed in this section: {', '.join(siblings)}"
    return f"sections: {', '.join(sections(known))}; `fedcrucible config` lists all keys"


def sections(keys: Iterable[str]) -> list[str]:
    """The distinct first parts of dotted keys, in order."""
    return list(dict.fromkeys(key.split(".")[0] for key in keys))


def _translate(error: ValidationError, settings: Mapping[str, Scalar]) -> ConfigError:
    problems = error.errors()
    first = problems[0]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, ConfigError):
        return cause
    path = [str(part) for part in first["loc"]]
    while len(path) > 1 and ".".join(path) not in settings and not _within(path, settings):
        path.pop()
    key = ".".join(path)
    more = f" ({len(problems) - 1} more after this one)" if len(problems) > 1 else ""
    if key not in settings:  # a rule about several keys of one component
        given = {k: v for k, v in settings.items() if k.startswith(key + ".")}
        return ConfigError(key, given, _said(first["type"], first["msg"]) + more)
    close = did_you_mean(str(settings[key]), key_info(key).choices)
    return ConfigError(
        key, settings[key], f"{_said(first['type'], first['msg'])}; {close}allowed: {allowed(key)}{more}"
    )


def _within(path: list[str], settings: Mapping[str, Scalar]) -> bool:
    return any(key.startswith(".".join(path) + ".") for key in settings)


def _said(kind: str, message: str) -> str:
    """Pydantic's words in ours."""
    if kind.startswith("int_"):
        return "not a whole number"
    if kind.startswith("float_"):
        return "not a number"
    if kind == "finite_number":
        return "not a finite number"
    if kind.startswith("bool_"):
        return "not true or false"
    if kind in ("greater_than", "greater_than_equal", "less_than", "less_than_equal", "multiple_of"):
        return "out of range"
    if kind in ("literal_error", "string_pattern_mismatch"):
        return "no such value"
    return message.removeprefix("Value error, ")


def parse_assignment(text: str) -> tuple[str, Scalar]:
    """``key=value`` of the command line: value as TOML (numbers, true/false, quoted text) or as plain text."""
    key, sign, value = text.partition("=")
    if not sign or not key.strip():
        raise ConfigError("setting", text, "settings are written KEY=VALUE, e.g. strategy=clip-fed")
    key, value = key.strip(), value.strip()
    try:
        table = tomllib.loads(f"value = {value}")
    except (ValueError, RecursionError):  # not TOML: plain text
        table = {}
    parsed = table.get("value", value)
    if len(table) > 1 or (_is_text(key) and not isinstance(parsed, str)):  # 2024_01 for a folder's name is no number
        return key, value
    if not isinstance(parsed, (str, int, float, bool)):
        raise ConfigError(key, value, "a text, number or true/false (lists are written as text: '1,2,3')")
    return key, parsed


def _is_text(key: str) -> bool:
    try:
        return kind_of(field_of(key)) in ("text", "choice")
    except KeyError:
        return False


def overlaid(*layers: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Settings of several layers, e.g. preset and command line; the last layer counts.

    What counts also stands last, which ``|`` doesn't do: of an old and a new key the later one counts (``modern``).
    """
    settings: dict[str, Scalar] = {}
    for layer in layers:
        for key, value in layer.items():
            settings.pop(key, None)
            settings[key] = value
    return settings


def load_assignments(texts: Iterable[str]) -> dict[str, Scalar]:
    """Settings of a command line; of a key given twice the last counts. Raises ConfigError."""
    return overlaid(*({key: value} for key, value in map(parse_assignment, texts)))
