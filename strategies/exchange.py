"""Send messages and collect the replies by node, whatever order they come in."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence

from flwr.app import Message
from flwr.serverapp import Grid

_ATTEMPTS = 3
"""Failed pulls of one reply (network trouble or a reply that can't be decoded) before it is given up."""


def exchange(
    grid: Grid, messages: Sequence[Message], timeout: float, poll: float, *, one_by_one: bool
) -> dict[int, Message | Exception]:
    """Push ``messages`` (one per node) and return the first reply of each node, by the node it was sent to.

    Error replies of the SuperLink carry its own node id, so replies are matched by the message they answer.  A node
    that did not answer within ``timeout`` seconds is absent.  ``one_by_one`` pulls each reply by itself, so that one
    that can't be decoded spoils no other; it then appears as the exception it raised.
    """
    stored = set(grid.push_messages(messages))
    pending = {m.metadata.message_id: m.metadata.dst_node_id for m in messages if m.metadata.message_id in stored}
    deadline = time.monotonic() + timeout
    answers: dict[int, Message | Exception] = {}
    failures: Counter[str] = Counter()
    while pending:
        for batch in [[i] for i in pending] if one_by_one else [list(pending)]:
            try:
                replies: Iterable[Message] = grid.pull_messages(batch)
            except Exception as error:
                failures.update(batch)
                for message_id in [i for i in batch if failures[i] >= _ATTEMPTS]:
                    answers[pending.pop(message_id)] = error
                continue
            for reply in replies:
                node_id = pending.pop(reply.metadata.reply_to_message_id, None)
                if node_id is not None:
                    answers[node_id] = reply
        left = deadline - time.monotonic()
        if not pending or left <= 0:
            break
        time.sleep(min(poll, left))
    return answers
