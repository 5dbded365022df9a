"""Replies that lie about the work behind them."""

from __future__ import annotations

from flwr.app import Message, MetricRecord

from client_app.node_fault import NODE_FAULTS, Moment, NodeFault
from strategies.messages import METRICS

CLAIMED = 10**9


@NODE_FAULTS.register("lie")
class ManyExamples(NodeFault):
    """Claims 10^9 examples, to be all of the weighted mean."""

    def answer(self, moment: Moment) -> Message:
        """Honest work under a false claim."""
        content = moment.work()
        metrics = content[METRICS]
        assert isinstance(metrics, MetricRecord)
        content[METRICS] = MetricRecord({**metrics, "num-examples": CLAIMED})
        return moment.reply(content)
