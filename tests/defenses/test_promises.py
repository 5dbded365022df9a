"""The public checks tell a component that breaks a promise, by the promise's name; those of a user's own too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import defenses.contracts
from defenses.base import (
    REPAIRS,
    SPLITTERS,
    Aggregate,
    AggregationRule,
    ClientUpdates,
    Needs,
    Purified,
    Purifier,
    Repair,
    RepairContext,
    Split,
    Splitter,
)
from defenses.contracts import (
    REPAIR_PROMISES,
    SPLITTER_PROMISES,
    check_purifier,
    check_repair,
    check_rule,
    check_splitter,
)
from defenses.contracts.promises import check_one
from defenses.rules.median import Median
from fedcrucible_core.foundation.base import GuideTargets, ServerData
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.models.base import SplitModel

ROW_ORDER = "the order of rows is irrelevant"
OF_TEXTS = "texts are split too"
UNBOUNDED = "a huge update is rejected or clipped"


class Mean(AggregationRule):
    """Plain mean, not registered."""

    def aggregate(self, updates: ClientUpdates) -> Aggregate:
        weights = updates.equal_shares(torch.ones(len(updates), dtype=torch.bool))
        return Aggregate(updates.weighted_sum(weights), weights)


class Trusting(Mean):
    """Accepts the first client alone."""

    def aggregate(self, updates: ClientUpdates) -> Aggregate:
        weights = torch.zeros(len(updates), dtype=torch.float64)
        weights[0] = 1.0
        return Aggregate(updates.matrix[0].clone(), weights)


class Mutating(Mean):
    """Halves the updates in place."""

    def aggregate(self, updates: ClientUpdates) -> Aggregate:
        updates.matrix.mul_(0.5)
        return super().aggregate(updates)


class Global(Mean):
    """Draws from the global generator."""

    def aggregate(self, updates: ClientUpdates) -> Aggregate:
        result = super().aggregate(updates)
        return Aggregate(result.delta + 1e-12 * torch.rand(1), result.weights)


class Heavy(Mean):
    """Weights that sum to n."""

    def aggregate(self, updates: ClientUpdates) -> Aggregate:
        return Aggregate(super().aggregate(updates).delta, torch.ones(len(updates), dtype=torch.float64))


class Forgetful(Mean):
    """State of a kind that no file keeps."""

    def aggregate(self, updates: ClientUpdates) -> Aggregate:
        result = super().aggregate(updates)
        return Aggregate(result.delta, result.weights, state={"seen": torch.ones(3).expand(2, 3).T})


class Counting(Mean):
    """State that is no tensor."""

    def aggregate(self, updates: ClientUpdates) -> Aggregate:
        result = super().aggregate(updates)
        return Aggregate(result.delta, result.weights, state={"rounds": 1})  # type: ignore[dict-item]


def test_a_rule_outside_the_repository_passes() -> None:
    check_rule(Mean(), exempt=[UNBOUNDED])
    check_rule(Median())


@pytest.mark.parametrize(
    ("rule", "promise"),
    [
        (Trusting(), "the order of clients is irrelevant"),
        (Mutating(), "inputs are left as they were"),
        (Global(), "same seed, same result"),
        (Heavy(), "a valid result for any number of clients"),
        (Mean(), UNBOUNDED),
    ],
)
def test_a_broken_promise_is_named(rule: AggregationRule, promise: str) -> None:
    with pytest.raises(AssertionError, match=f"{type(rule).__name__} breaks '{promise}'"):
        check_rule(rule)


def test_an_error_of_the_rules_own_is_a_broken_promise() -> None:
    with pytest.raises(AssertionError, match="Forgetful breaks 'state survives a restart'"):
        check_rule(Forgetful(), exempt=[UNBOUNDED])


def test_state_that_is_no_tensor_is_named() -> None:
    with pytest.raises(AssertionError, match="state rounds is int, not a tensor"):
        check_rule(Counting())


def test_an_exemption_without_need_is_an_error() -> None:
    with pytest.raises(AssertionError, match=f"Median keeps '{UNBOUNDED}': take the exemption away"):
        check_rule(Median(), exempt=[UNBOUNDED])
    with pytest.raises(ValueError, match="no such promise: speed"):
        check_rule(Median(), exempt=["speed"])


def test_a_reference_is_compared() -> None:
    check_rule(Median(), reference=lambda _w, u, _n: np.median(u, axis=0))
    with pytest.raises(AssertionError, match="from its reference"):
        check_rule(Median(), reference=lambda _w, u, _n: u.mean(axis=0))


class Noisy(Purifier):
    """Adds noise to the first parameter, from a generator that isn't the run's."""

    def purify(
        self, model: SplitModel, data: ServerData, guide: GuideTargets | None, rng: torch.Generator, state: object
    ) -> Purified:  # fmt: skip
        with torch.no_grad():
            next(model.parameters()).add_(torch.randn(1))
        return Purified()


class Shrinking(Noisy):
    """Halves the first parameter, and stays in the mode that it found."""

    def purify(
        self, model: SplitModel, data: ServerData, guide: GuideTargets | None, rng: torch.Generator, state: object
    ) -> Purified:  # fmt: skip
        with torch.no_grad():
            next(model.parameters()).mul_(0.5)
        return Purified()


def test_purifiers_are_told_apart() -> None:
    with pytest.raises(AssertionError, match="Noisy breaks 'same seed, same model'"):
        check_purifier(Noisy())
    with pytest.raises(AssertionError, match="breaks 'the model is left in eval mode without gradients'"):
        check_purifier(Shrinking())


QUICK: dict[str, dict[str, object]] = {
    "abl": {"tuning_epochs": 1, "epochs": 1, "unlearn_steps": 2},
    "anp": {"steps": 2},
    "asd": {"epochs": 4, "iterations": 2},
    "d-br": {"detector_epochs": 1, "spread_epochs": 1, "epochs": 2},
    "dbd": {"contrastive_epochs": 1, "warmup_epochs": 1, "epochs": 1, "iterations": 2},
    "fine-pruning": {"epochs": 1},
    "i-bau": {"rounds": 1, "steps": 1},
    "mcr": {"end_epochs": 1, "epochs": 1},
    "mspc-split": {"outer": 1, "inner": 1},
    "retrain": {"epochs": 1},
}
"""Short schedules of repairs and splitters that train for long."""


@pytest.mark.parametrize("promise", REPAIR_PROMISES)
@pytest.mark.parametrize("name", sorted(REPAIRS))
def test_every_repair_keeps_its_promises(name: str, promise: str) -> None:
    check_one(REPAIRS.create(name, QUICK.get(name, {})), REPAIR_PROMISES, promise)


def test_a_repair_that_watches_images_keeps_them_too() -> None:
    check_repair(REPAIRS.create("pruning", {"max_drop": 10.0, "extreme_weights": 2.0}))
    check_repair(REPAIRS.create("pruning", {"method": "votes"}))


class Ruinous(Repair):
    """Divides by zero."""

    def repair(self, model: SplitModel, context: RepairContext) -> dict[str, float]:
        with torch.no_grad():
            next(model.parameters()).div_(0.0)
        return {}


class Partial(Repair):
    """Believes the first client."""

    @property
    def needs(self) -> Needs:
        return REPAIRS.create("pruning").needs

    def repair(self, model: SplitModel, context: RepairContext) -> dict[str, float]:
        with torch.no_grad():
            next(model.parameters()).mul_(float(context.require_answers()[0, 0] + 1))
        return {}


def test_repairs_are_told_apart() -> None:
    with pytest.raises(AssertionError, match="Ruinous breaks 'model and facts are finite"):
        check_repair(Ruinous())
    with pytest.raises(AssertionError, match="Partial breaks 'the order of clients is irrelevant'"):
        check_repair(Partial())


@pytest.mark.parametrize("promise", SPLITTER_PROMISES)
@pytest.mark.parametrize("name", sorted(SPLITTERS))
def test_every_splitter_keeps_its_promises(name: str, promise: str) -> None:
    if (name, promise) == ("random", ROW_ORDER):
        check_splitter(SPLITTERS.create(name), exempt=[ROW_ORDER])  # it draws row numbers
    elif (name, promise) == ("mspc-split", OF_TEXTS):
        check_splitter(SPLITTERS.create(name, QUICK[name]), exempt=[OF_TEXTS])  # it scales pixels
    else:
        check_one(SPLITTERS.create(name, QUICK.get(name, {})), SPLITTER_PROMISES, promise)


class FirstHalf(Splitter):
    """Trusts what comes first; ``lost`` loses the rest."""

    lost: bool = False

    def split(self, data: Labeled, guide: object, model: object, rng: torch.Generator) -> Split:
        first: Tensor = torch.arange(len(data)) <= len(data) // 2
        found = Split.by(first, ~first)
        return Split(found.clean, found.mixed, found.mixed) if self.lost else found


def test_splitters_are_told_apart() -> None:
    with pytest.raises(AssertionError, match="FirstHalf breaks 'the order of rows is irrelevant'"):
        check_splitter(FirstHalf())
    check_splitter(FirstHalf(), exempt=[ROW_ORDER])
    with pytest.raises(AssertionError, match="breaks 'every row is in one part'"):
        check_splitter(FirstHalf(lost=True))


def test_no_test_runner_is_imported() -> None:
    folder = Path(defenses.contracts.__file__).parent
    assert [file.name for file in folder.glob("*.py") if "import pytest" in file.read_text(encoding="utf-8")] == []
