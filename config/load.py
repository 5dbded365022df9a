"""From flat dotted keys to a validated RunConfig and back; every mistake becomes one ConfigError."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from config.compose import RunConfigBase, run_config_type
from config.errors import ConfigError, did_you_mean

Scalar = str | int | float | bool
PRESETS = Path(__file__).parent / "presets"


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
    return flatten(run_config_type()())


def load(settings: Mapping[str, Scalar]) -> RunConfigBase:
    """Validate flat dotted settings (missing keys take their defaults). Raises ConfigError."""
    known = default_keys()
    for key, value in settings.items():
        if key not in known:
            raise ConfigError(key, value, f"unknown key; {_suggest(key, known)}")
    nested: dict[str, Any] = {}
    for key, value in settings.items():
        *path, leaf = key.split(".")
        table = nested
        for part in path:
            table = table.setdefault(part, {})
        table[leaf] = value
    try:
        return run_config_type().model_validate(nested, strict=False)
    except ValidationError as error:
        raise _translate(error, settings) from None


def _suggest(key: str, known: Mapping[str, Scalar]) -> str:
    section = key.split(".")[0]
    siblings = [k for k in known if k.startswith(section + ".")] if "." in key else [k for k in known if "." not in k]
    return did_you_mean(key, known) or (
        f"allowed in this section: {', '.join(siblings)}" if siblings else f"sections: {', '.join(sections(known))}"
    )


def sections(keys: Iterable[str]) -> list[str]:
    """The distinct first parts of dotted keys, in order."""
    return list(dict.fromkeys(key.split(".")[0] for key in keys))


def _translate(error: ValidationError, settings: Mapping[str, Scalar]) -> ConfigError:
    problems = error.errors()
    key = ".".join(str(part) for part in problems[0]["loc"])
    value = settings.get(key, problems[0].get("input"))
    more = f" ({len(problems) - 1} more after this one)" if len(problems) > 1 else ""
    if key not in settings and "." not in key:
        return ConfigError(key, value, problems[0]["msg"] + more)
    return ConfigError(key, value, f"{problems[0]['msg']}; allowed: {allowed(key)}{more}")


def field_of(key: str) -> FieldInfo:
    """The pydantic field behind a dotted key. Raises KeyError when there is none."""
    model: Any = run_config_type()
    info: FieldInfo | None = None
    for part in key.split("."):
        info = next((f for n, f in model.model_fields.items() if part in (f.alias, n)), None)
        if info is None:
            raise KeyError(key)
        model = info.annotation
    assert info is not None
    return info


def allowed(key: str) -> str:
    """What a key accepts, in words: type, choices, range, default."""
    try:
        info = field_of(key)
    except KeyError:
        return "nothing"
    schema = _json_schema(info)
    words = [str(schema.get("type", "choice"))]
    if "enum" in schema:
        words = ["one of " + ", ".join(map(str, schema["enum"]))]
    for name, sign in (("minimum", ">="), ("exclusiveMinimum", ">"), ("maximum", "<="), ("exclusiveMaximum", "<")):
        if name in schema:
            words.append(f"{sign} {schema[name]:g}")
    if "pattern" in schema:
        words.append(f"matching {schema['pattern']}")
    return f"{' '.join(words)} (default {json.dumps(info.default)}): {info.description or ''}".rstrip(": ")


def _json_schema(info: FieldInfo) -> dict[str, Any]:
    from pydantic import create_model

    model = create_model("Probe", probe=(info.annotation, info))
    properties = model.model_json_schema(by_alias=False)["properties"]
    schema: dict[str, Any] = next(iter(properties.values()))
    return schema


def parse_assignment(text: str) -> tuple[str, Scalar]:
    """``key=value`` of the command line: value as TOML (numbers, true/false, quoted text) or as plain text."""
    key, sign, value = text.partition("=")
    if not sign or not key.strip():
        raise ConfigError(text, "", "settings are written key=value, e.g. strategy=clip-fed")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()
    if not isinstance(parsed, (str, int, float, bool)):
        raise ConfigError(key.strip(), value, "a text, number or true/false (lists are written as text: '1,2,3')")
    return key.strip(), parsed


def flatten_table(table: Mapping[str, Any], prefix: str = "") -> dict[str, Scalar]:
    """Nested TOML tables as dotted keys. Raises ConfigError for lists and other values."""
    flat: dict[str, Scalar] = {}
    for name, value in table.items():
        if isinstance(value, Mapping):
            flat |= flatten_table(value, f"{prefix}{name}.")
        elif isinstance(value, (str, int, float, bool)):
            flat[prefix + name] = value
        else:
            raise ConfigError(prefix + name, value, "a text, number or true/false")
    return flat


def preset_names() -> list[str]:
    """Names of the presets that ship."""
    return sorted(path.relative_to(PRESETS).with_suffix("").as_posix() for path in PRESETS.rglob("*.toml"))


def load_preset(name: str) -> dict[str, Scalar]:
    """The settings of a preset by name, or of a TOML file by path. Raises ConfigError."""
    path = Path(name) if name.endswith(".toml") else PRESETS / f"{name}.toml"
    if not path.is_file():
        choices = preset_names()
        raise ConfigError("preset", name, f"{did_you_mean(name, choices)}allowed: {', '.join(choices)}, or a .toml file")
    try:
        return flatten_table(tomllib.loads(path.read_text(encoding="utf-8")))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError("preset", name, f"not valid TOML: {error}") from None
