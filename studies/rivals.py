"""The same aggregation rules in byzfl and Flower, where installed, as functions of one float32 matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
from torch import Tensor

Call = Callable[[], object]


def rivals(rule: str, updates: Tensor, f: int) -> Iterator[tuple[str, Call]]:
    """(whose it is, a call that aggregates ``updates [n, d]`` with f attackers) for every one that has the rule.

    What only converts our matrix into their types is done before; byzfl comes twice, for numpy and for torch.
    """
    if find_spec("byzfl") is not None:
        yield from _byzfl(rule, updates, f)
    if find_spec("flwr") is not None:
        yield from _flower_functions(rule, updates, f)
        yield from _flower_records(rule, updates, f)


def _byzfl(rule: str, updates: Tensor, f: int) -> Iterator[tuple[str, Call]]:
    import byzfl

    made: dict[str, Callable[[], Any]] = {
        "fedavg": byzfl.Average,
        "median": byzfl.Median,
        "trimmed-mean": lambda: byzfl.TrMean(f=f),
        "krum": lambda: byzfl.Krum(f=f),
        "multi-krum": lambda: byzfl.MultiKrum(f=f),
        "rfa": lambda: byzfl.GeometricMedian(nu=1e-6, T=4),
    }
    if rule in made:
        theirs, array = made[rule](), updates.numpy()
        yield "byzfl numpy", lambda: theirs(array)
        yield "byzfl torch", lambda: theirs(updates)


def _flower_functions(rule: str, updates: Tensor, f: int) -> Iterator[tuple[str, Call]]:
    from flwr.server.strategy import aggregate as legacy

    n = len(updates)
    results: list[tuple[list[np.ndarray], int]] = [([row], 1) for row in updates.numpy()]
    made: dict[str, Call] = {
        "fedavg": lambda: legacy.aggregate(results),
        "median": lambda: legacy.aggregate_median(results),
        "trimmed-mean": lambda: legacy.aggregate_trimmed_avg(results, f / n + 1e-9),
        "krum": lambda: legacy.aggregate_krum(results, f, 0),
        "multi-krum": lambda: legacy.aggregate_krum(results, f, n - f),
    }
    if n <= 20:  # theta times n^2 distances of length d: minutes beyond
        made["bulyan"] = lambda: legacy.aggregate_bulyan(list(results), (n - 3) // 4, legacy.aggregate_krum, to_keep=0)
    if rule in made:
        yield "Flower function", made[rule]


def _flower_records(rule: str, updates: Tensor, f: int) -> Iterator[tuple[str, Call]]:
    """Flower's strategies for message records; only what they do after the records are built."""
    if rule not in ("krum", "multi-krum"):
        return
    from flwr.app import ArrayRecord, RecordDict
    from flwr.serverapp.strategy.multikrum import select_multikrum

    contents = [RecordDict({"arrays": ArrayRecord([row])}) for row in updates.numpy()]
    yield "Flower records", lambda: select_multikrum(contents, f, 1 if rule == "krum" else len(contents) - f)
