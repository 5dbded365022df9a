"""Nodes that die with a round's work: before it, in the midst of it, and after it."""

from __future__ import annotations

import os
import signal
import threading

from flwr.app import Message

from client_app.node_fault import NODE_FAULTS, Moment, NodeFault

MARK = "FEDCRUCIBLE_PROCESSES"
"""Variable that processes of a rehearsal carry; without it nothing is killed."""
INTO_WORK_S = 0.2
"""Seconds from the beginning of the work to the death in the midst of it."""


def end_node() -> None:
    """Kill this SuperNode with all its processes, this one included, as a power cut does.

    Raises RuntimeError in a process that no rehearsal has started: its group may hold others' processes.
    """
    if MARK not in os.environ or os.getpgrp() == os.getpid():
        raise RuntimeError("only a SuperNode that a rehearsal has started may be killed by its own client")
    os.killpg(os.getpgrp(), signal.SIGKILL)


@NODE_FAULTS.register("kill-before")
class DiesBefore(NodeFault):
    """The node is killed when the model has come, before it trains."""

    def answer(self, moment: Moment) -> Message:
        """Dies."""
        end_node()
        return moment.honest()


@NODE_FAULTS.register("kill")
class DiesDuring(NodeFault):
    """The node is killed while it trains."""

    def answer(self, moment: Moment) -> Message:
        """Dies at its work, or at its end where it takes no time."""
        timer = threading.Timer(INTO_WORK_S, end_node)
        timer.daemon = True
        timer.start()
        try:
            moment.honest()
        finally:
            timer.cancel()
        end_node()
        return moment.honest()


@NODE_FAULTS.register("kill-after")
class DiesAfter(NodeFault):
    """The node is killed when it has trained, before it sends."""

    def answer(self, moment: Moment) -> Message:
        """Works, then dies."""
        reply = moment.honest()
        end_node()
        return reply
