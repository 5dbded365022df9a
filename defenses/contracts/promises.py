"""How promises are kept in tables and checked one by one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
Promise = Callable[[T], None]
"""Raises AssertionError where a component breaks it; any other error is one of the component's own."""


def check_all(component: T, promises: Mapping[str, Promise[T]], exempt: Collection[str]) -> None:
    """Check every promise; those in ``exempt`` must be broken, so that an exemption can't outlive its reason.

    Raises:
        AssertionError: names the component, the promise, and what was found.
        ValueError: ``exempt`` names no promise.
    """
    unknown = sorted(set(exempt) - set(promises))
    if unknown:
        raise ValueError(f"no such promise: {', '.join(unknown)}; there are: {', '.join(promises)}")
    for promise in promises:
        if promise not in exempt:
            check_one(component, promises, promise)
        elif _kept(component, promises, promise):
            raise AssertionError(f"{describe(component)} keeps '{promise}': take the exemption away")


def check_one(component: T, promises: Mapping[str, Promise[T]], promise: str) -> None:
    """Check one promise of a table. Raises AssertionError that names it, whatever the component failed with."""
    try:
        promises[promise](component)
    except Exception as error:
        raise AssertionError(f"{describe(component)} breaks '{promise}': {type(error).__name__}: {error}") from error


def _kept(component: T, promises: Mapping[str, Promise[T]], promise: str) -> bool:
    try:
        check_one(component, promises, promise)
    except AssertionError:
        return False
    return True


def describe(component: object) -> str:
    """The class's name."""
    return type(component).__name__


def require(condition: object, found: str) -> None:
    """Raise AssertionError with what was found where a condition doesn't hold."""
    if not condition:  # and not `assert`, which `python -O` leaves out
        raise AssertionError(found)


def unchanged(before: list[Tensor], after: list[Tensor]) -> bool:
    """Whether both hold the same numbers; NaN equals NaN."""
    return all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(before, after, strict=True))
