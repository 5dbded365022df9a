"""Replies of a wrong form: too large, cut short, of other types."""

from __future__ import annotations

import numpy as np
from flwr.app import Array, ConfigRecord, Message

from client_app.node_fault import NODE_FAULTS, Moment, NodeFault, with_parameters
from strategies.messages import METRICS, MODEL, PARAMETERS

OVERSIZE = 8_000_000
"""Parameters of an oversize reply, 32 MB."""


@NODE_FAULTS.register("oversize")
class Oversize(NodeFault):
    """Sends 32 MB in the place of the model's parameters."""

    def answer(self, moment: Moment) -> Message:
        """Honest work with a far longer vector."""
        return moment.reply(with_parameters(moment.work(), Array(np.zeros(OVERSIZE, np.float32))))


@NODE_FAULTS.register("truncated")
class Truncated(NodeFault):
    """Sends half of the parameters' bytes under a header that promises all: what a broken transfer leaves."""

    def answer(self, moment: Moment) -> Message:
        """Honest work, cut short."""
        content = moment.work()
        true: Array = content[MODEL][PARAMETERS]  # type: ignore[assignment]
        return moment.reply(with_parameters(content, Array(true.dtype, true.shape, true.stype, _half(true.data))))


@NODE_FAULTS.register("type-confused")
class TypeConfused(NodeFault):
    """Sends texts where numbers belong: another version's reply, or an attempt on whoever reads it."""

    def answer(self, moment: Moment) -> Message:
        """Honest work whose metrics are settings."""
        return moment.reply({**moment.work(), METRICS: ConfigRecord({"num-examples": "many", "train-loss": b"\x00"})})


def _half(data: bytes) -> bytes:
    return data[: len(data) // 2]
