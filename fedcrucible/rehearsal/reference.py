"""The same run again in this process, with the replies that the record counts and no others: is it the same model?"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping

from flwr.app import ConfigRecord, Error, Message

from fedcrucible.engines.local_grid import LocalGrid
from fedcrucible_core.config.load import flatten, load
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.records.schema import RoundRecord
from server_app.plan import Plan
from server_app.run import execute
from strategies.messages import ROUND, whole
from strategies.records import record_in

_NEVER_CAME = Error(code=5, reason="not counted in the record")


class CountedReplies(LocalGrid):
    """Clients of this process, each of which answers in the rounds in which its reply was valid."""

    def __init__(self, plan: Plan, rounds: Mapping[int, RoundRecord]) -> None:
        from client_app.app import app

        super().__init__(app, plan.config.federation.clients, flatten(plan.config))
        self.rounds = rounds

    def _answer(self, message: Message) -> Message:
        site = message.metadata.dst_node_id - 2
        if message.metadata.message_type == "train":
            record = self.rounds[whole(record_in(message.content, ROUND, ConfigRecord)["round"])]
            if site not in record.participants or str(site) in record.dropped:
                return Message(_NEVER_CAME, reply_to=message)
        return super()._answer(message)


def counted_sha256(settings: Mapping[str, Scalar], rounds: Mapping[int, RoundRecord]) -> str:
    """SHA-256 of the final model of a run of ``settings`` in which exactly the recorded valid replies came."""
    with tempfile.TemporaryDirectory(prefix="fedcrucible-") as folder:
        quiet: dict[str, Scalar] = {
            "output.dir": folder, "output.name": "counted", "output.report": False, "run.resume": False,
            "federation.quorum": 0, "federation.required": "", "run.checkpoint_every": 0,
        }  # fmt: skip
        plan = Plan.make(load({**settings, **quiet}))
        return execute(plan, CountedReplies(plan, rounds), in_order=True).parameters_sha256
