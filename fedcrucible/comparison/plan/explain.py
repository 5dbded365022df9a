"""Settings with the reasons that a matrix gives for them."""

from __future__ import annotations

from collections.abc import Sequence

from fedcrucible.comparison.plan.cell import Cell
from fedcrucible.comparison.plan.matrix import Matrix
from fedcrucible_core.config.load import flatten
from fedcrucible_core.config.values import value_text

Explained = tuple[str, str, str]
"""A configuration key, its value, and a reason where it needs one."""
Groups = list[tuple[str, list[Explained]]]


def explained(matrix: Matrix, cells: Sequence[Cell]) -> Groups:
    """Settings whose reasons the matrix states, by kind; where cells differ, all their values."""
    kinds = (
        ("As the paper says", matrix.stated),
        ("Assumed, for the paper is silent", matrix.assumed),
        ("Changed from the paper", matrix.changed),
    )
    every = [flatten(cell.config) for cell in cells]
    return [
        (title, [(key, ", ".join(dict.fromkeys(value_text(one[key]) for one in every)) or "-", reason)
                 for key, reason in reasons.items()])
        for title, reasons in kinds
    ]  # fmt: skip
