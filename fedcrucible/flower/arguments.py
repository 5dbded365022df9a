"""What a user gives the strategy, checked for kind and range before anything is done with it."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from fedcrucible_core.config import ConfigError
from fedcrucible_core.foundation.base import Guide

MOST_SEED = 2**31 - 1


def check_arguments(given: Mapping[str, object]) -> None:
    """Raise ConfigError for the first argument that is of another kind than it must be; other names don't matter."""
    for name, (allowed, holds) in ALLOWED.items():
        if name in given and not holds(given[name]):
            value = given[name]
            raise ConfigError(name, value if _plain(value) else f"a {_kind(value)}", allowed)


def _plain(value: object) -> bool:
    return value is None or isinstance(value, (str, int, float, Path, list, tuple))


def _kind(value: object) -> str:
    return f"class {value.__name__}" if inspect.isclass(value) else type(value).__name__


def _whole(least: int, most: float = math.inf) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, Integral) and not isinstance(value, bool) and least <= int(value) <= most


def _number(least: float, most: float) -> Callable[[Any], bool]:
    def holds(value: Any) -> bool:
        value = value.item() if isinstance(value, Tensor) and not value.ndim else value
        return isinstance(value, Real) and not isinstance(value, bool) and least <= float(value) <= most

    return holds


def _instance(*kinds: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kinds)


def _listed(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: _is_list(value) and all(map(holds, value))


def _is_list(value: Any) -> bool:
    """Whether it holds values in an order: lists, tuples, arrays, tensors, a mapping's keys."""
    try:
        return not isinstance(value, (str, bytes, Mapping)) and len(value) >= 0 and iter(value) is not None
    except TypeError:
        return False


def _or_none(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or holds(value)


def _place(value: Any) -> bool:
    return isinstance(value, (str, os.PathLike)) and bool(os.fspath(value).strip())


def _moments(value: Any) -> bool:
    """Mean and deviation, as many of each, deviations positive."""
    if not _is_list(value) or len(value) != 2 or not all(map(_listed(_number(-1e9, 1e9)), value)):
        return False
    mean, deviation = value
    return len(mean) == len(deviation) > 0 and min(deviation) > 0


def _array(value: Any) -> bool:
    return isinstance(value, (str, Integral)) and not isinstance(value, bool)


def _named(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)


_FOLDER = ("a folder, or None", _or_none(_place))
_FUNCTION = ("a function, or None", _or_none(callable))
_KEY = ("a name", lambda value: isinstance(value, str) and bool(value))
_SHARE = ("a fraction, 0 to 1", _number(0.0, 1.0))
_NODES = ("a whole number of nodes, at least 0", _whole(0))
ALLOWED: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "defence": ("the name of a defence", _instance(str)),
    "record": _FOLDER,
    "resume": ("True or False", _instance(bool, np.bool_)),
    "checkpoint_every": ("a whole number of rounds, 0 = never", _whole(0)),
    "model": ("the app's nn.Module (an instance), or None", _or_none(_instance(nn.Module))),
    "class_names": ("a list of names", _listed(_instance(str))),
    "input_shape": ("a list of whole numbers of at least 1, e.g. (3, 32, 32)", _listed(_whole(1))),
    "normalise": (
        "a pair (mean, deviation) of lists, one number per channel, deviations above 0, or None", _or_none(_moments),
    ),
    "guide": ("a guide's name or folder, a Guide, or None", _or_none(_instance(str, Path, Guide))),
    "buffers": ("a list of names or positions of arrays", _listed(_array)),
    "max_examples": ("a number of at least 0; 0 = by the round's median", _number(0.0, 2.0**53)),
    "malicious_key": ("a name; empty = nobody knows", _instance(str)),
    "seed": (f"a whole number, 0 to {MOST_SEED}, or None", _or_none(_whole(0, MOST_SEED))),
    "on_disk": _FOLDER,
    "num_rounds": ("a whole number of at least 0", _whole(0)),
    "settings": ("configuration keys and their values, or None", _or_none(_named)),
    "on_round": _FUNCTION,
    "fraction_train": _SHARE,
    "fraction_evaluate": _SHARE,
    "min_train_nodes": _NODES,
    "min_evaluate_nodes": _NODES,
    "min_available_nodes": _NODES,
    "weighted_by_key": _KEY,
    "arrayrecord_key": _KEY,
    "configrecord_key": _KEY,
    "train_metrics_aggr_fn": _FUNCTION,
    "evaluate_metrics_aggr_fn": _FUNCTION,
}  # fmt: skip
"""Argument -> what is allowed, and whether a value is that."""
