"""Asks nodes which partition they hold, and never waits for an answer: each step collects those that have come."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from flwr.app import Message
from flwr.serverapp import Grid

from fedcrucible_core.config.plain_text import plain_text
from fedcrucible_core.learning.data import DataInfo
from strategies.claims import Claim, read_claim
from strategies.exchange import PatientPulls
from strategies.messages import query_message
from strategies.replies import InvalidReplyError

SILENCE_S = 60.0
"""Seconds after which a node that has not answered is asked again; doubled every time."""
LONGEST_PAUSE_S = 600.0
ATTEMPTS = 3
"""Failed pulls of one answer before it is given up."""
OPEN_QUESTIONS = 3
"""Questions to one node that are still looked for; older ones are forgotten."""
UNANSWERED = "has not answered the partition query"


@dataclass
class _Node:
    """Where matters stand with one node."""

    session: str
    """Changes when the node was restarted."""
    pending: dict[str, int] = field(default_factory=dict)
    """Message id of each open question, to its failed pulls."""
    times: int = 0
    again_at: float = 0.0
    steps: int = 0
    """Steps since it was first asked."""


class PartitionQuery:
    """What nodes answer; those that failed or said nothing are asked again, after longer and longer pauses.

    ``clients`` is the number of partitions, ``pause_s`` the seconds before a failed answer is asked for again (doubled
    every time; none is waited for longer), ``info`` what the server tells about its data set.
    """

    def __init__(self, clients: int, pause_s: float, info: DataInfo | None = None) -> None:
        self.clients = clients
        self.pause_s = pause_s
        self.info = info
        self.claims: dict[int, Claim] = {}
        """Node id to its valid answer."""
        self.faults: dict[int, str] = {}
        """Node id to the cause for which its last answer can't be used."""
        self._nodes: dict[int, _Node] = {}
        self._pulls = PatientPulls(pause_s)

    def step(self, grid: Grid, online: Mapping[int, str]) -> None:
        """Ask whom it is time to ask and collect the answers that have come.

        ``online`` is node id to a text that changes when the node was restarted, and so may be configured otherwise.
        """
        now = time.monotonic()
        for node_id, session in sorted(online.items()):
            if node_id not in self._nodes or self._nodes[node_id].session != session:
                self._nodes[node_id] = _Node(session)
        self._ask(grid, [i for i in sorted(online) if self._is_due(i, now)], now)
        for node_id in sorted(online):
            self._nodes[node_id].steps += 1
            self._collect(grid, node_id, now)

    def silent(self, node_id: int, steps: int = 1) -> bool:
        """Whether a node that was asked at least so many steps ago never answered, well or badly."""
        known = self._nodes.get(node_id)
        answered = node_id in self.claims or node_id in self.faults
        return known is not None and known.steps >= steps and not answered

    def _is_due(self, node_id: int, now: float) -> bool:
        node = self._nodes[node_id]
        settled = node_id in self.claims and not node.pending
        return not node.times or (not settled and now >= node.again_at)

    def _ask(self, grid: Grid, node_ids: list[int], now: float) -> None:
        if not node_ids:
            return
        messages = [query_message(i, self.info) for i in node_ids]
        stored = set(grid.push_messages(messages))
        for node_id, message in zip(node_ids, messages, strict=True):
            node = self._nodes[node_id]
            node.times += 1
            node.again_at = now + _pause(SILENCE_S, node.times)
            if message.metadata.message_id in stored:
                node.pending[message.metadata.message_id] = 0
                for oldest in list(node.pending)[:-OPEN_QUESTIONS]:
                    del node.pending[oldest]

    def _collect(self, grid: Grid, node_id: int, now: float) -> None:
        """Answers are pulled one by one, so that one that can't be decoded spoils no other."""
        node = self._nodes[node_id]
        for message_id in list(node.pending):
            answer: Message | Exception | None
            try:
                answer = self._pulls.pull(grid, message_id)
            except Exception as error:
                node.pending[message_id] += 1
                answer = error if node.pending[message_id] >= ATTEMPTS else None
            if answer is not None:
                node.pending.pop(message_id, None)
                self._read(node_id, node, answer, now)

    def _read(self, node_id: int, node: _Node, answer: Message | Exception, now: float) -> None:
        try:
            self.claims[node_id] = read_claim(answer, self.clients)
        except InvalidReplyError as cause:
            self.claims.pop(node_id, None)
            self.faults[node_id] = plain_text(cause)
            node.again_at = now + _pause(self.pause_s, node.times)
        else:
            self.faults.pop(node_id, None)
            node.pending.clear()


def _pause(first: float, times: int) -> float:
    return min(first * 2.0 ** min(times - 1, 30), LONGEST_PAUSE_S)
