"""Every key in words: its type, what it accepts, its default, what it means."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_origin

from pydantic import create_model
from pydantic.fields import FieldInfo

from fedcrucible_core.config.compose import run_config_type

Default = str | int | float | bool
_KINDS: dict[Any, str] = {int: "whole number", float: "number", str: "text", bool: "true or false"}


@dataclass(frozen=True)
class KeyInfo:
    """One configuration key as a user needs to know it."""

    key: str
    kind: str
    """whole number, number, text, true or false, or choice."""
    allowed: str
    """The values it accepts, in words."""
    choices: tuple[str, ...]
    """The values themselves where they can be listed."""
    default: Default
    description: str


def field_of(key: str) -> FieldInfo:
    """The pydantic field behind a dotted key. Raises KeyError when there is none."""
    model: Any = run_config_type()
    info: FieldInfo | None = None
    for part in key.split("."):
        fields = getattr(model, "model_fields", {})
        info = next((f for n, f in fields.items() if part == (f.alias or n)), None)
        if info is None:
            raise KeyError(key)
        model = info.annotation
    assert info is not None
    return info


@cache
def key_info(key: str) -> KeyInfo:
    """What there is to know about one key. Raises KeyError when there is none."""
    return describe_field(key, field_of(key))


def kind_of(info: FieldInfo) -> str:
    """whole number, number, text, true or false, or choice; cheap, for it is asked for every key in every process."""
    return _KINDS.get(info.annotation, "choice" if get_origin(info.annotation) is Literal else "text")


def describe_field(key: str, info: FieldInfo) -> KeyInfo:
    """The same for a field at hand, e.g. of a component that is not part of the configuration."""
    schema = _json_schema(info)
    choices = tuple(str(value) for value in schema.get("enum", ()))
    kind = kind_of(info)
    words = f"one of {', '.join(choices)}" if choices else kind + _range(schema)
    if "pattern" in schema:
        words += f" matching {schema['pattern']}"
    return KeyInfo(key, kind, words, choices, info.default, info.description or "")


def allowed(key: str) -> str:
    """What a key accepts, in one line: type, choices, range, default, meaning."""
    try:
        info = key_info(key)
    except KeyError:
        return "nothing"
    return f"{info.allowed} (default {json.dumps(info.default)}): {info.description}".rstrip(": ")


def _range(schema: dict[str, Any]) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None:
        words = f" from {_plain(least)} to {_plain(most)}"
    else:
        bounds = (
            ("at least", least),
            ("above", schema.get("exclusiveMinimum")),
            ("at most", most),
            ("below", schema.get("exclusiveMaximum")),
        )
        said = " and ".join(f"{word} {_plain(bound)}" for word, bound in bounds if bound is not None)
        words = f" {said}" if said else ""
    if "multipleOf" in schema:
        words += f" in steps of {_plain(schema['multipleOf'])}"
    multiple = schema.get("multipleOf")
    return words + (f", a multiple of {_plain(multiple)}" if multiple is not None else "")


def _plain(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else str(value)


def _json_schema(info: FieldInfo) -> dict[str, Any]:
    model = create_model("Probe", **{"probe": (info.annotation, info)})  # type: ignore[call-overload]
    properties = model.model_json_schema(by_alias=False)["properties"]
    schema: dict[str, Any] = next(iter(properties.values()))
    return schema
