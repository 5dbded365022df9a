"""The public contract checks, as the author of a method outside the repository calls them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from attacks.poisoner import PoisonContext, Poisoner
from attacks.uploads.sign_flip import SignFlip
from defenses.base import Aggregate, AggregationRule
from defenses.purifiers.fine_tune import FineTune
from defenses.repairs.pruning import Pruning
from defenses.rules.median import Median
from defenses.splitters.guide_agreement import GuideAgreement
from defenses.updates import ClientUpdates
from fedcrucible_core import testing


class FirstClient(AggregationRule):
    """Takes the update of whoever comes first."""

    def aggregate(self, updates: ClientUpdates) -> Aggregate:
        weights = torch.zeros(len(updates.matrix), dtype=torch.float64)
        weights[0] = 1.0
        return Aggregate(updates.matrix[0].clone(), weights)


class Brighter(Poisoner):
    """Lets pixels leave [0, 1]."""

    def stamp(self, x: Tensor, y: Tensor, ctx: PoisonContext) -> Tensor:
        return x + 1.0


def test_methods_that_keep_their_promises_pass() -> None:
    testing.check_rule(Median())
    testing.check_uploader(SignFlip())
    testing.check_splitter(GuideAgreement())
    testing.check_purifier(FineTune())
    testing.check_repair(Pruning())


def test_a_rule_that_depends_on_the_order_of_clients_is_told_so() -> None:
    with pytest.raises(AssertionError, match="order"):
        testing.check_rule(FirstClient())


def test_a_poisoner_that_leaves_the_range_is_told_so() -> None:
    with pytest.raises(AssertionError, match=r"\[0, 1\]"):
        testing.check_poisoner(Brighter())


def test_a_rule_is_compared_with_its_reference() -> None:
    with pytest.raises(AssertionError):
        testing.check_rule(Median(), reference=lambda w_t, updates, examples: updates.mean(0))


def test_no_test_runner_is_imported(tmp_path: Path) -> None:
    modules = "fedcrucible_core.testing, attacks.contracts, defenses.contracts"
    code = f"import sys, {modules}; assert 'pytest' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
