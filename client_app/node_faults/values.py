"""Replies with numbers that are none."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from flwr.app import Array, Message

from client_app.node_fault import NODE_FAULTS, Moment, NodeFault, with_parameters
from strategies.messages import MODEL, PARAMETERS


class _OneBadValue(NodeFault):
    """Honest work in which one parameter is not finite."""

    value: ClassVar[float]

    def answer(self, moment: Moment) -> Message:
        """The first parameter is replaced."""
        content = moment.work()
        parameters = content[MODEL][PARAMETERS].numpy().copy()  # type: ignore[union-attr]
        parameters[0] = self.value
        return moment.reply(with_parameters(content, Array(parameters)))


@NODE_FAULTS.register("nan")
class NotANumber(_OneBadValue):
    """One parameter is NaN: what a diverged training sends."""

    value = float("nan")


@NODE_FAULTS.register("inf")
class Infinite(_OneBadValue):
    """One parameter is infinite: what an overflow sends."""

    value = np.inf
