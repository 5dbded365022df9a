"""The way into a rehearsal's misbehaviour, which honest work passes at the cost of one look-up."""

from __future__ import annotations

from collections.abc import Callable

from flwr.app import Context, Message

SWITCH = "rehearsal"
"""Key of the node's own configuration; only whoever starts the node can set it."""


def rehearsed(msg: Message, context: Context, honest: Callable[[], Message]) -> Message:
    """The honest answer; on a node that was started to misbehave, what its rehearsal says."""
    planned = context.node_config.get(SWITCH)
    if planned is None:
        return honest()
    from client_app.node_fault import misbehave  # no node of a real federation needs it

    return misbehave(planned, msg, context, honest)
