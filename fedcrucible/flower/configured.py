"""A defence by its name and parameters, checked as everywhere; what a foreign app can't give it is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from defenses.base import PURIFIERS, RULES, AggregationRule
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.config.errors import did_you_mean
from fedcrucible_core.config.extras import require
from fedcrucible_core.config.load import load
from fedcrucible_core.config.values import Scalar
from strategies.systems import SYSTEMS, Assembled, System, assemble

COUNTING = (
    "defense.", "purifier.", "repair.", "training.", "guide.", "synthetic.", "run.seed", "run.device", "run.precision",
    "federation.buffers", "federation.poll_s", "output.report", "output.log",
)  # fmt: skip
"""Keys (or sections) of the configuration that mean something where neither clients nor data are ours."""


@dataclass
class Defence:
    """What defends, and the settings that say so."""

    config: RunConfigBase
    system: Assembled
    settings: Mapping[str, Scalar]
    """What was set, by configuration key; all else has its default, or doesn't count in a foreign app."""

    @property
    def rule(self) -> AggregationRule:
        """The rule that aggregates."""
        assert self.system.rule is not None, "a federation has a rule"
        return self.system.rule

    def reseed(self, seed: int) -> None:
        """Go on with the seed of an earlier part of the run."""
        self.settings = {**self.settings, "run.seed": seed}
        self.config = self.config.model_copy(update={"run": self.config.run.model_copy(update={"seed": seed})})


def defence_of(name: str, parameters: Mapping[str, Scalar], settings: Mapping[str, Scalar]) -> Defence:
    """The defence ``name``, a rule or a system of a federation, with parameters of its rule or purifier.

    ``settings`` are further configuration keys, e.g. ``purifier.name`` or ``training.lr``.

    Raises:
        ConfigError: an unknown name or parameter, a value out of range, a missing extra.
    """
    require("server")
    if name not in allowed_names():
        raise ConfigError("defence", name, _instead(name))
    for key, value in settings.items():
        if not key.startswith(COUNTING):
            raise ConfigError(
                "settings", f"{key} = {value}", f"counts for nothing here; allowed: {', '.join(COUNTING)}"
            )
    keys = {_key(name, parameter): value for parameter, value in parameters.items()}
    chosen: dict[str, Scalar] = {"strategy": name, **keys, **settings}
    chosen = {key: value.item() if isinstance(value, np.generic) else value for key, value in chosen.items()}
    config = load(chosen)
    system = assemble(config)
    _check_used(settings, system)
    return Defence(config, system, chosen)


def _check_used(settings: Mapping[str, Scalar], system: Assembled) -> None:
    """Raise ConfigError for parameters of a component that takes no part."""
    parts = (("defense", system.rule), ("purifier", system.purifier), ("repair", system.repair))
    for section, part in parts:
        used = part.name if part is not None else "none"
        for key in settings:
            name = key.split(".")[1] if key.startswith(f"{section}.") and key.count(".") > 1 else used
            if name != used:
                raise ConfigError("settings", f"{key} = {settings[key]}", f"counts for nothing: {section} is {used}")


def allowed_names() -> list[str]:
    """Every defence of clients' updates: rules, and systems that work on one model which clients train."""
    return sorted({*RULES, *(name for name, system in SYSTEMS.classes().items() if _of_one_federation(system))})


def _of_one_federation(system: type[System]) -> bool:
    return system.trainer == "federation" and not system.synthetic


def _instead(name: str) -> str:
    allowed = f"allowed: {', '.join(allowed_names())}"
    if name not in SYSTEMS:
        return f"{did_you_mean(name, allowed_names())}{allowed}"
    system = SYSTEMS[name]
    why = "trains several architectures" if system.synthetic else "asks no client to train"
    return f"{why}: run it by fedcrucible itself; {allowed}"


def _key(name: str, parameter: str) -> str:
    """The configuration key of a parameter. Raises ConfigError where both rule and purifier have it."""
    rule, purifier = (name, "none") if name in RULES else (SYSTEMS[name].rule, SYSTEMS[name].purifier)
    of_rule = parameter in RULES[rule].model_fields
    if purifier == "none" or parameter not in PURIFIERS[purifier].model_fields:
        return f"defense.{rule}.{parameter}"
    if of_rule:
        both = f"settings={{'defense.{rule}.{parameter}': ...}} or settings={{'purifier.{purifier}.{parameter}': ...}}"
        raise ConfigError(parameter, "...", f"rule and purifier have such a parameter; allowed: {both}")
    return f"purifier.{purifier}.{parameter}"
