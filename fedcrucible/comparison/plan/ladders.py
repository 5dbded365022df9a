"""``[compare.tuning]``: which settings of defences are tried before a matrix runs, and the rule that keeps one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.errors import did_you_mean
from fedcrucible_core.config.load import default_keys, is_defence
from fedcrucible_core.config.old_keys import today
from fedcrucible_core.config.values import Scalar, value_text


class LadderTable(BaseModel):
    """``[compare.tuning.ladders]``: one entry, by the label of a system."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    key: str = Field(description="Setting that makes the defence stronger or weaker")
    values: tuple[bool | int | float | str, ...] = Field(min_length=1, description="Its values, the strongest first")


class TuningTable(BaseModel):
    """``[compare.tuning]`` of a preset file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    seed: int = Field(ge=0, description="Seed of the trials; none of the matrix'")
    most_drop: float = Field(10.0, ge=0.0, le=100.0, description="Points of accuracy that a defence may cost")
    measure: str = Field("ma", description="Accuracy that counts: a column of results.csv")
    undefended: str = Field("", description="Label of the system without defence; empty = the first")
    ladders: dict[str, LadderTable] = Field(description="Label of a system -> key and values")


@dataclass(frozen=True)
class Ladder:
    """One setting of a defence and the values that are tried, the strongest first."""

    key: str
    values: tuple[Scalar, ...]


@dataclass(frozen=True)
class Tuning:
    """What is tried, and the rule: the strongest setting that costs at most ``most_drop`` points of accuracy."""

    seed: int
    most_drop: float
    measure: str
    undefended: str
    ladders: Mapping[str, Ladder]
    """By the label of a system."""

    @classmethod
    def of(
        cls,
        table: TuningTable,
        systems: Sequence[Scalar],
        chosen: Sequence[Scalar],
        seeds: Sequence[int],
        accuracies: Sequence[str],
    ) -> Tuning:
        """Of a file's table, for a matrix of these seeds and those of the file's ``systems`` that were ``chosen``.

        Raises ConfigError for what can't be meant, and where the undefended system wasn't chosen.
        """
        if table.seed in seeds:
            allowed = "a seed that the matrix doesn't use: settings must not be chosen by runs that are reported"
            raise ConfigError("compare.tuning.seed", table.seed, allowed)
        labels, present = [value_text(system) for system in systems], [value_text(system) for system in chosen]
        _listed("compare.tuning.measure", table.measure, accuracies)
        undefended = table.undefended or (labels[0] if labels else "")
        _listed("compare.tuning.undefended", undefended, labels)
        _listed("compare.tuning.undefended", undefended, present)
        for label in table.ladders:
            _listed("compare.tuning.ladders", label, [name for name in labels if name != undefended])
        ladders = {label: _ladder(label, ladder) for label, ladder in table.ladders.items()}
        own = {label: ladder for label, ladder in ladders.items() if label in present}
        return cls(table.seed, table.most_drop, table.measure, undefended, own)


def _ladder(label: str, table: LadderTable) -> Ladder:
    """Raises ConfigError for a key that is no defender's, and for a value that is listed twice."""
    entry, key = f"compare.tuning.ladders.{label}", today(table.key)
    _listed(f"{entry}.key", key, list(default_keys()))
    if not is_defence(key):
        raise ConfigError(f"{entry}.key", key, "a setting of the defence: what all systems face is no step of a ladder")
    twice = [value for value in table.values if table.values.count(value) > 1]
    if twice:
        raise ConfigError(f"{entry}.values", value_text(twice[0]), "listed twice")
    return Ladder(key, table.values)


def _listed(key: str, value: str, names: Sequence[str]) -> None:
    if value not in names:
        shown = f"allowed: {', '.join(names)}" if len(names) < 100 else "no such setting"
        raise ConfigError(key, value, f"{did_you_mean(value, names)}{shown}")
