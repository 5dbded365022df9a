"""Every cell is checked before any of them runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from attacks.adversary import Adversary
from fedcrucible.comparison.plan.cell import Cell
from fedcrucible_core.config import ConfigError
from fedcrucible_core.foundation.base import SOURCES
from fedcrucible_core.learning.datasets.load import dataset_source
from fedcrucible_core.learning.models.base import MODELS
from fedcrucible_core.learning.partition.base import PARTITIONERS
from server_app.plan import Plan
from strategies.systems import assemble


@dataclass(frozen=True)
class Impossible:
    """Cells whose settings can't be had together (or here), and why."""

    cause: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Checked:
    """The cells that can run, and those that can't."""

    cells: tuple[Cell, ...]
    impossible: tuple[Impossible, ...]


def check(cells: Sequence[Cell], tell: Callable[[int], None] = lambda _: None) -> Checked:
    """Check all cells; ``tell`` is called with the number of those that have been.

    A name, key or value that no cell could have is the user's mistake: raises its ConfigError.  What is impossible only
    in combination (a rule that needs more clients, data that isn't here) is listed by cause instead.
    """
    for cell in cells:
        _names(cell)
    possible: list[Cell] = []
    causes: dict[str, list[Cell]] = {}
    for done, cell in enumerate(cells, start=1):
        try:
            Plan.make(cell.config)
            _ = cell.digest
        except ConfigError as error:
            causes.setdefault(str(error), []).append(cell)
        else:
            possible.append(cell)
        tell(done)
    return Checked(tuple(possible), tuple(Impossible(cause, tuple(found)) for cause, found in causes.items()))


def _names(cell: Cell) -> None:
    config = cell.config
    assemble(config)
    Adversary.of(config)
    MODELS.of(config)
    PARTITIONERS.of(config)
    SOURCES.of(config)
    dataset_source(config.task.dataset)
