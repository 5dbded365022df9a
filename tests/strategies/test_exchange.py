"""Pulls that are waited for patiently: a few at a time, and none for ever."""

from __future__ import annotations

import time
from collections.abc import Iterable
from threading import Event, Thread
from typing import Any

import pytest
from flwr.app import Message, RecordDict
from flwr.clientapp import ClientApp

from fedcrucible.engines.local_grid import LocalGrid
from strategies.exchange import PatientPulls, exchange


def _app() -> ClientApp:
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Any) -> Message:
        return Message(RecordDict(), reply_to=message)

    return app


class Watched(LocalGrid):
    """Counts how many pulls are on their way together; those of ``withheld`` nodes wait for ``freed``."""

    def __init__(self, clients: int, withheld: Iterable[int] = ()) -> None:
        super().__init__(_app(), clients, {})
        self.withheld = set(withheld)
        self.freed = Event()
        self.now = self.most = 0

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        self.now += 1
        self.most = max(self.most, self.now)
        found = list(super().pull_messages(message_ids))
        if any(message.metadata.src_node_id in self.withheld for message in found):
            self.freed.wait(30)
        self.now -= 1
        return found


def _messages(nodes: int) -> list[Message]:
    return [Message(RecordDict(), dst_node_id=2 + i, message_type="train") for i in range(nodes)]


@pytest.mark.parametrize("most", [1, 2, 3])
def test_so_many_replies_are_on_their_way_at_most(most: int) -> None:
    grid = Watched(8, withheld=range(2, 2 + most - 1))
    found = exchange(grid, _messages(8), 2.0, 0.01, one_by_one=True, at_a_time=most)
    grid.freed.set()
    assert grid.most == most
    assert set(found) == set(range(2 + most - 1, 10))  # those that withhold their parts hold up nobody else


def test_more_stuck_ones_than_may_be_on_their_way_hold_up_the_others_for_their_grace_alone() -> None:
    grid = Watched(8, withheld=range(2, 6))
    pulls, keys = PatientPulls(0.01, most=2, grace=0.3), list(grid.push_messages(_messages(8)))
    heard: set[int] = set()
    begun = time.monotonic()
    while len(heard) < 4 and time.monotonic() < begun + 20.0:
        for key in keys:
            reply = pulls.pull(grid, key)
            if reply is not None:
                heard.add(reply.metadata.src_node_id)
        time.sleep(0.01)
    grid.freed.set()
    assert heard == {6, 7, 8, 9}
    assert time.monotonic() - begun >= 0.6  # two and two


def test_a_thread_that_cant_begin_costs_an_attempt_and_is_waited_for_by_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Thread) -> None:
        raise RuntimeError("can't start new thread")

    grid = Watched(1)
    messages = _messages(1)
    monkeypatch.setattr(Thread, "start", refused)
    found = exchange(grid, messages, 30.0, 0.01, one_by_one=True)
    assert str(found[2]) == "can't start new thread"


@pytest.mark.parametrize("error", [MemoryError("none left"), SystemExit(3)])
def test_whatever_a_pull_raises_is_handed_on(error: BaseException) -> None:
    class Broken(Watched):
        def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
            raise error

    pulls, grid = PatientPulls(5.0), Broken(1)

    with pytest.raises(type(error)):
        pulls.pull(grid, "x")
