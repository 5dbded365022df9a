"""The study of a SuperLink's database: every node is there, and the figures are those of its pieces."""

from __future__ import annotations

import pytest

from studies import superlink_state
from studies.superlink_state import Cost


def test_a_database_of_a_few_nodes() -> None:
    cost = superlink_state.measure(3)
    assert min(cost.register_ms, cost.heartbeat_ms, cost.list_s, cost.kb) > 0.0


def test_heartbeats_of_so_many_nodes_take_all_the_time() -> None:
    assert Cost(1.0, 3.0, 0.1, 5.0).most_nodes == pytest.approx(10_000)
