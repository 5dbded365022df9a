"""A server's rule, as an attacker simulates it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from defenses.base import Aggregate, AggregationRule, ClientUpdates
from fedcrucible_core.config.load import load
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.models import SmallCNN
from fedcrucible_core.learning.tasks import task_of
from fedcrucible_core.learning.vector import flatten_parameters, parameter_slots
from strategies import rule_simulation
from strategies.nodes import assumed_malicious
from strategies.rule_simulation import accepted_updates

SEEN: list[ClientUpdates] = []


class Recording(AggregationRule):
    """Accepts the even rows and keeps what it was shown."""

    min_clients = 3

    def aggregate(self, updates: ClientUpdates) -> Aggregate:
        SEEN.append(updates)
        weights = (torch.arange(len(updates)) % 2 == 0).double()
        return Aggregate(updates.matrix.mean(0), weights / weights.sum(), state={"a": torch.ones(1)})


INFO = DataInfo("d", ("a", "b"), (1, 8, 8), (0.5,), (0.5,))


def simulated(n: int, monkeypatch: pytest.MonkeyPatch, **settings: Scalar) -> torch.Tensor | None:
    SEEN.clear()
    config = load({"federation.clients": 40, "run.rounds": 7, **{k.replace("__", "."): v for k, v in settings.items()}})
    monkeypatch.setattr(rule_simulation, "assemble", lambda config: SimpleNamespace(rule=Recording()))
    model = SmallCNN(width=2, hidden=4).build(INFO, 1)
    w_t = flatten_parameters(model)
    updates = torch.randn(n, len(w_t), generator=torch.Generator().manual_seed(0))
    return accepted_updates(
        config, "server", w_t, updates, round=3, participants=20, malicious=8, scratch=model, task=task_of(INFO)
    )


def test_rows_with_weight_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    accepted = simulated(5, monkeypatch)
    assert accepted is not None
    assert accepted.tolist() == [True, False, True, False, True]


def test_too_few_updates_are_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    assert simulated(2, monkeypatch) is None
    assert SEEN == []


def test_the_rule_knows_what_the_server_would_tell_it_but_no_memory_and_no_root_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    simulated(5, monkeypatch)
    simulated(5, monkeypatch)
    server = SEEN[-1].server
    assert SEEN[-1].state == {}
    assert SEEN[-1].round == 3
    assert (server.clients, server.rounds, server.task) == (40, 7, task_of(INFO))
    assert server.output == "classifier"
    assert server.train_root is None
    assert server.scratch is not None
    assert server.slots == parameter_slots(server.scratch)
    assert len(set(SEEN[-1].num_examples.tolist())) == 1


@pytest.mark.parametrize(("n", "assumed", "expected"), [(10, -1, 2), (5, -1, 1), (20, -1, 4), (10, 6, 3), (10, 0, 0)])
def test_assumed_attackers_shrink_with_the_simulated_round(
    n: int, assumed: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulated(n, monkeypatch, defense__assumed_malicious=assumed)  # 8 of 40 clients are malicious: 4 of 20
    assert SEEN[-1].server.assumed_malicious == expected


def test_the_true_share_is_assumed_unless_a_number_is_given() -> None:
    config = load({"federation.clients": 40})
    assert [assumed_malicious(config, m, 20) for m in (0, 1, 8, 9)] == [0, 1, 4, 5]
    assert assumed_malicious(load({"defense.assumed_malicious": 2}), 8, 20) == 2
