"""The way into a rehearsal's misbehaviour, which honest work passes at the cost of one look-up."""

from __future__ import annotations

from collections.abc import Callable

from flwr.app import Context, Message

SWITCH = "rehearsal"
"""Key of ``--node-config``: ``rehearsal='nan@4,late@6'``, a fault and its round each. Only whoever starts the node can
set it: a run's configuration has no such key, and one that is sent under this name is never looked at."""


def rehearsed(msg: Message, context: Context, honest: Callable[[], Message]) -> Message:
    """The honest answer; on a node that was started to misbehave, what its rehearsal says."""
    planned = context.node_config.get(SWITCH)
    if planned is None:
        return honest()
    from client_app.node_fault import misbehave  # no node of a real federation needs it

    return misbehave(planned, msg, context, honest)
