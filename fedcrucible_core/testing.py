"""Contract checks for methods outside this repository, for test files of their authors.

    from fedcrucible_core.testing import check_rule

    def test_my_rule() -> None:
        check_rule(MyRule())

Each check raises AssertionError that names the property which the method lacks. No test runner is imported, and the
class need not be registered. The checks themselves stand in the rooms of what they check (``attacks/contracts/``,
``defenses/contracts/``); this file names those rooms as text, for they lie above it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection
from typing import Any, cast

from fedcrucible_core.config.component import Component

ATTACKS, DEFENSES = "attacks.contracts", "defenses.contracts"


def check_poisoner(poisoner: Component) -> None:
    """A poisoner: shapes, range, inputs left alone, each image by itself, labels, the clean-label promise."""
    _check(ATTACKS, "check_poisoner")(poisoner)


def check_uploader(uploader: Component, poisoner: Component | None = None) -> None:
    """An upload attack that plants ``poisoner`` (``badnets`` unless given): finite, in shape, inputs left alone."""
    _check(ATTACKS, "check_uploader")(uploader, poisoner)


def check_rule(rule: Component, *, reference: Callable[..., Any] | None = None, exempt: Collection[str] = ()) -> None:
    """An aggregation rule: order of clients, equal, zero and huge updates, few clients, weights, state, determinism.

    ``reference`` is a slow float64 form that it must agree with: ``(w_t [d], U [n, d], examples [n]) -> delta [d]``.
    ``exempt`` names promises that it can't keep by what it is; each must really be broken.
    """
    _check(DEFENSES, "check_rule")(rule, reference=reference, exempt=exempt)


def check_purifier(purifier: Component, *, exempt: Collection[str] = ()) -> None:
    """A purifier on a tiny model with server data and a guide; ``exempt`` as in :func:`check_rule`."""
    _check(DEFENSES, "check_purifier")(purifier, exempt=exempt)


def check_repair(repair: Component, *, exempt: Collection[str] = ()) -> None:
    """A repair of a tiny trained model; ``exempt`` as in :func:`check_rule`."""
    _check(DEFENSES, "check_repair")(repair, exempt=exempt)


def check_splitter(splitter: Component, *, exempt: Collection[str] = ()) -> None:
    """A splitter of a tiny labelled set: every row in one part, order of rows; ``exempt`` as in :func:`check_rule`."""
    _check(DEFENSES, "check_splitter")(splitter, exempt=exempt)


def _check(module: str, name: str) -> Callable[..., None]:
    return cast("Callable[..., None]", getattr(importlib.import_module(module), name))
