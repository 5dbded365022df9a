"""The models of a run by prototype (one architecture, one set of weights), and what everybody remembers of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from flwr.app import ArrayRecord
from torch import Tensor

from fedcrucible_core.learning.weights import SOLE as SOLE
from fedcrucible_core.learning.weights import Population as Population
from fedcrucible_core.learning.weights import Prototype as Prototype
from fedcrucible_core.learning.weights import Weights
from strategies.messages import from_arrays, to_arrays

State = Mapping[str, Tensor]
"""Named tensors that one part remembers from round to round."""


def first_of(population: Population) -> Weights:
    """The weights that rates and reports are about."""
    return next(iter(population.values()))


def equal(one: Population, other: Population) -> bool:
    """Whether two populations of the same prototypes hold the same weights."""
    return all(weights.equals(other[prototype]) for prototype, weights in one.items())


def nbytes(population: Population) -> int:
    """Bytes of all weights."""
    return sum(weights.nbytes for weights in population.values())


def population_arrays(population: Population) -> ArrayRecord:
    """A population as Flower's strategies hand it on; of a sole prototype what a client is sent."""
    if set(population) == {SOLE}:
        return to_arrays(population[SOLE])
    return ArrayRecord(
        {f"{prototype}/{key}": a for prototype, w in population.items() for key, a in to_arrays(w).items()}
    )


def population_in(arrays: ArrayRecord) -> Population:
    """The population in an ArrayRecord, copied."""
    named: dict[Prototype, dict[str, object]] = {}
    for key, array in arrays.items():
        prototype, _, part = key.rpartition("/")
        named.setdefault(prototype or SOLE, {})[part] = array
    return {prototype: from_arrays(ArrayRecord(parts)) for prototype, parts in named.items()}


def owner_of(part: str, prototype: Prototype) -> str:
    """Whose a state or a random draw is: ``rule``, ``purifier``, ..., and of which prototype if there are several."""
    return part if prototype == SOLE else f"{part} of {prototype}"


def fact_name(name: str, prototype: Prototype) -> str:
    """Name of a fact, which says of which prototype it is if there are several: ``rule.x``, ``rule.small.x``."""
    section, _, rest = name.partition(".")
    return name if prototype == SOLE else f"{section}.{prototype}.{rest}"


@dataclass
class Standing:
    """How far a run has come: the population, what it began with, and what the server's parts remember."""

    population: Population
    initial: Population
    states: dict[str, State] = field(default_factory=dict)
    """State of each part and prototype, see ``owner_of``."""

    @classmethod
    def at_first(cls, population: Population) -> Standing:
        """The beginning: nobody remembers anything."""
        states: dict[str, State] = {owner_of(part, p): {} for part in ("rule", "purifier") for p in population}
        return cls(population, population, states)

    def compared(self, before: Population) -> Literal["changed", "kept", "initial"]:
        """What became of the population since ``before``; of one that is where it began, that it is there."""
        if equal(self.population, self.initial):
            return "initial"
        return "kept" if equal(self.population, before) else "changed"
