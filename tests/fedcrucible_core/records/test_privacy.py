"""From the rounds' facts to epsilon in the summary."""

from __future__ import annotations

import json
import math

import pytest

from fedcrucible_core.records.privacy import Spent, privacy_line, spent
from fedcrucible_core.records.schema import RoundRecord, RunDescription
from fedcrucible_core.records.summary import summarize

RUN = RunDescription(strategy="dp", seed=1, privacy="of one client")


def row(number: int, *stated: float) -> RoundRecord:
    names = ("rule.epsilon", "rule.delta", "rule.releases")
    return RoundRecord(round=number, facts=dict(zip(names, stated, strict=False)))


def test_the_last_round_that_states_it_counts() -> None:
    rounds = [row(0), row(1, 2.0, 0.1, 1.0), row(2, 3.0, 0.1, 2.0), row(3)]
    assert spent(rounds) == Spent(3.0, 0.1, 2)
    summary = summarize(RUN, rounds)
    assert (summary.epsilon, summary.delta, summary.private_rounds) == (3.0, 0.1, 2)
    assert privacy_line(summary) == "differential privacy: epsilon 3 at delta 0.1 after 2 rounds, of one client"


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_no_promise(bad: float) -> None:
    summary = summarize(RUN, [row(1, bad, 0.1, 1.0)])
    assert summary.epsilon is None
    assert json.loads(summary.model_dump_json())["epsilon"] is None
    assert privacy_line(summary) == "differential privacy: none"


def test_nothing_is_said_of_rules_that_promise_nothing() -> None:
    summary = summarize(RunDescription(strategy="fedavg", seed=1), [row(1)])
    assert privacy_line(summary) == ""
    assert summary.privacy == ""
