"""Replies that come too late."""

from __future__ import annotations

import time

from flwr.app import Message

from client_app.node_fault import NODE_FAULTS, Moment, NodeFault
from client_app.session import run_config

BEYOND_S = 3.0
"""Seconds after the server's deadline at which a late reply is sent at the earliest."""


@NODE_FAULTS.register("late")
class Late(NodeFault):
    """Honest work, sent after ``federation.timeout_s``: a slow machine."""

    def answer(self, moment: Moment) -> Message:
        """The honest reply, late."""
        time.sleep(run_config(moment.context).federation.timeout_s + BEYOND_S)
        return moment.honest()
