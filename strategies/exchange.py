"""Send messages and collect the replies by node, whatever order they come in."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, wait
from threading import Thread

from flwr.app import Message
from flwr.serverapp import Grid

_ATTEMPTS = 3
"""Failed pulls of one reply (network trouble or a reply that can't be decoded) before it is given up."""


GRACE_S = 60.0
"""Seconds after which a reply whose parts don't come counts as stuck."""


class PatientPulls:
    """Pulls replies one by one, each in a thread of its own.

    Flower's pull waits for the parts of a reply, for minutes where its sender withholds them.  Here nobody waits for
    one longer than ``patience`` seconds; what it gives is handed out when it is asked for again.  No more than ``most``
    are on their way at a time, whose memory is that of a reply each; one that is older than ``grace`` seconds is stuck
    and counts no more, so that those who withhold parts hold up the others for so long alone.
    """

    def __init__(self, patience: float, most: int = sys.maxsize, grace: float = GRACE_S) -> None:
        self.patience = patience
        self.most = most
        self.grace = grace
        self._open: dict[str, tuple[Future[Message | None], float]] = {}
        """By message: the pull, and when it began."""

    def pull(self, grid: Grid, message_id: str) -> Message | None:
        """The reply to a message; None where there is none yet. Raises what the pull raised."""
        if message_id not in self._open:
            if self._on_their_way() >= self.most:
                return None
            begun: Future[Message | None] = Future()
            Thread(target=_pull_into, args=(begun, grid, message_id), daemon=True).start()  # may find no room
            self._open[message_id] = begun, time.monotonic()
            wait([begun], self.patience)
        future, _ = self._open[message_id]
        if not future.done():
            return None
        del self._open[message_id]
        return future.result()

    def _on_their_way(self) -> int:
        """Open pulls that aren't stuck; one that is done holds a reply until it is asked for."""
        oldest = time.monotonic() - self.grace
        return sum(future.done() or begun > oldest for future, begun in self._open.values())


def _pull_into(future: Future[Message | None], grid: Grid, message_id: str) -> None:
    try:
        replies = grid.pull_messages([message_id])
        future.set_result(next((r for r in replies if r.metadata.reply_to_message_id == message_id), None))
    except BaseException as error:  # else whoever waits for it waits for ever
        future.set_exception(error)


def in_simulation(grid: Grid) -> bool:
    """Whether nodes are virtual: simulation keeps all messages in memory, a deployment speaks HTTP."""
    try:
        from flwr.superlink.grid import InMemoryGrid
    except ImportError:  # no public name: another version may have moved it; federation.discovery still decides
        return False
    return isinstance(grid, InMemoryGrid)


def exchange(
    grid: Grid,
    messages: Sequence[Message],
    timeout: float,
    poll: float,
    *,
    one_by_one: bool,
    at_a_time: int = sys.maxsize,
    heard: Callable[[int], None] = lambda _: None,
) -> dict[int, Message | Exception]:
    """Push ``messages`` (one per node) and return the first reply of each node, by the node it was sent to.

    Error replies of the SuperLink carry its own node id, so replies are matched by the message they answer.  A node
    that did not answer within ``timeout`` seconds is absent.  ``one_by_one`` pulls each reply by itself, so that one
    that can't be decoded, or whose parts its sender withholds, spoils no other; it then appears as the exception it
    raised, or not at all; ``at_a_time`` of them may be on their way together.  ``heard`` is told the node of each reply
    as it comes.
    """
    pulls = PatientPulls(min(poll, timeout), at_a_time)

    def pull(batch: list[str]) -> Iterable[Message]:
        if not one_by_one:
            return grid.pull_messages(batch)
        reply = pulls.pull(grid, batch[0])
        return [] if reply is None else [reply]

    stored = set(grid.push_messages(messages))
    pending = {m.metadata.message_id: m.metadata.dst_node_id for m in messages if m.metadata.message_id in stored}
    deadline = time.monotonic() + timeout
    answers: dict[int, Message | Exception] = {}
    failures: Counter[str] = Counter()
    while pending:
        for batch in [[i] for i in pending] if one_by_one else [list(pending)]:
            try:
                replies = pull(batch)
            except Exception as error:
                failures.update(batch)
                for message_id in [i for i in batch if failures[i] >= _ATTEMPTS]:
                    node_id = pending.pop(message_id)
                    answers[node_id] = error
                    heard(node_id)
                continue
            for reply in replies:
                answering = pending.pop(reply.metadata.reply_to_message_id, None)
                if answering is not None:
                    answers[answering] = reply
                    heard(answering)
        left = deadline - time.monotonic()
        if not pending or left <= 0:
            break
        time.sleep(min(poll, left))
    return answers
