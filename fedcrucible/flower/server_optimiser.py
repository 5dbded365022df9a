"""One of Flower's own server optimisers, fed with the aggregate of a defence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy, deepcopy
from typing import Any

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg
from torch import Tensor

from fedcrucible.flower.layout import Layout
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.plain_text import error_text
from strategies.arrays import BFLOAT16, packed, values_of

JUDGES = ("Krum", "MultiKrum", "Bulyan", "FedMedian", "FedTrimmedAvg", "QFedAvg", "FedXgbBagging", "FedXgbCyclic")
"""Strategies that need every client's reply: fed with one aggregate they do nothing."""


class _Crowd:
    """A grid of as many nodes as anybody asks for, to which nothing is ever sent."""

    def __init__(self, nodes: int) -> None:
        self.nodes = nodes

    def get_node_ids(self) -> Iterable[int]:
        return range(2, 2 + self.nodes)


class ServerOptimiser:
    """Moves the learned arrays as ``strategy`` (FedAdam, FedYogi, FedAdagrad, FedAvgM, ...) moves an average.

    Statistics and whole numbers stay those of the defence's aggregate: Adam's step on a running variance makes it
    negative, and on a counter makes it no whole number.  What a strategy adds to the clients' configuration (FedProx)
    is sent.  It works on a copy: the user's own object stays as it is.

    Raises:
        ConfigError: the strategy has no use for one aggregate.
    """

    def __init__(self, strategy: FedAvg) -> None:
        name = type(strategy).__name__
        if not isinstance(strategy, FedAvg):
            allowed = "a server optimiser of flwr.serverapp.strategy (FedAdam, FedYogi, FedAdagrad, FedAvgM, FedProx)"
            if "DifferentialPrivacy" in name:
                allowed += "; for clipping and noise take Defended('dp'), or put the wrapper around Defended"
            raise ConfigError("inner", name, allowed)
        judging = [cls.__name__ for cls in type(strategy).__mro__ if cls.__name__ in JUDGES]
        if judging or type(strategy).__name__ == "Defended":
            allowed = "a server optimiser: this one judges single replies, and the defence hands on one aggregate"
            raise ConfigError("inner", name, allowed)
        try:
            self._fresh = deepcopy(vars(strategy))
        except Exception as error:  # it may be anybody's own
            raise ConfigError("inner", name, f"a strategy that can be copied: {error_text(error)}") from None
        self.strategy = copy(strategy)
        self.begin()

    def begin(self) -> None:
        """Forget all that the strategy remembers: another run begins, or this one starts over."""
        vars(self.strategy).clear()
        vars(self.strategy).update(deepcopy(self._fresh))

    @property
    def description(self) -> str:
        """Its name, and its numbers as they were at first."""
        plain = {name: value for name, value in self._fresh.items() if isinstance(value, (bool, int, float, str))}
        return f"{type(self.strategy).__name__} {sorted(plain.items())}"

    def configure(self, server_round: int, arrays: ArrayRecord, layout: Layout, config: ConfigRecord) -> None:
        """Tell the strategy what is sent; it may add to ``config``."""
        needed = max(self.strategy.min_train_nodes, self.strategy.min_available_nodes, 1)
        crowd: Any = _Crowd(needed)
        list(self.strategy.configure_train(server_round, _learned(arrays, layout), config, crowd))

    def moved(self, server_round: int, aggregate: ArrayRecord, layout: Layout) -> ArrayRecord:
        """The arrays that the strategy makes of the defence's aggregate.

        Raises ValueError where it fails, whatever with, FloatingPointError where what it made is not finite.
        """
        content = RecordDict(
            {
                self.strategy.arrayrecord_key: _learned(aggregate, layout),
                "metrics": MetricRecord({self.strategy.weighted_by_key: 1.0}),
            }
        )
        reply = Message(content, dst_node_id=2, message_type=MessageType.TRAIN)
        name = type(self.strategy).__name__
        try:
            found, _ = self.strategy.aggregate_train(server_round, [reply])
        except Exception as error:  # it may be anybody's own
            raise ValueError(f"{name} failed: {error_text(error)}") from None
        if found is None or set(found) != {entry.key for entry in layout.learned}:
            raise ValueError(f"{name} made other arrays of the aggregate, or none")
        moved = {key: packed(values_of(array), layout.by_key[key].dtype) for key, array in found.items()}
        broken = [key for key, array in moved.items() if not np.isfinite(values_of(array)).all()]
        if broken:
            raise FloatingPointError(f"{name} left {broken[0]!r} not finite")
        return ArrayRecord({key: moved.get(key, array) for key, array in aggregate.items()})

    @property
    def state(self) -> dict[str, Tensor]:
        """What the strategy remembers: its named arrays, or numbered ones."""
        found: dict[str, Tensor] = {}
        for name, value in vars(self.strategy).items():
            for key, part in _items(value):
                array = part.numpy() if isinstance(part, Array) else part
                if isinstance(array, (np.ndarray, np.generic)):  # of arrays without dimensions scalars remain
                    found[f"{type(value).__name__}/{name}/{key}"] = torch.from_numpy(np.array(array))
        return found

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Make the strategy remember what it did."""
        collected: dict[tuple[str, str], dict[str, Any]] = {}
        for path, tensor in state.items():
            kind, name, key = path.split("/", 2)
            collected.setdefault((kind, name), {})[key] = tensor.numpy()
        for (kind, name), values in collected.items():
            whole: object = values
            if kind == "list":
                whole = [values[key] for key in sorted(values, key=int)]
            elif kind == "ArrayRecord":
                whole = ArrayRecord({key: packed(value, str(value.dtype)) for key, value in values.items()})
            setattr(self.strategy, name, whole)


def _items(value: object) -> Iterable[tuple[object, object]]:
    if isinstance(value, (dict, ArrayRecord)):
        return value.items()
    return enumerate(value) if isinstance(value, list) else ()


def _learned(arrays: ArrayRecord, layout: Layout) -> ArrayRecord:
    """What the strategy is fed with; halves as float32: numpy computes badly with float16, with bfloat16 not at all."""
    wide = {entry.key: packed(values_of(arrays[entry.key]), _wide(entry.dtype)) for entry in layout.learned}
    return ArrayRecord(wide)


def _wide(dtype: str) -> str:
    return dtype if np.dtype("V2" if dtype == BFLOAT16 else dtype).itemsize > 2 else "float32"
