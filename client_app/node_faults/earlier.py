"""Replies of an earlier round."""

from __future__ import annotations

from flwr.app import ConfigRecord, Message

from client_app.node_fault import NODE_FAULTS, Content, Moment, NodeFault
from strategies.messages import CLIENT

KEPT = "rehearsal."
"""Begins the names of records in ``context.state`` that hold the last honest reply."""


@NODE_FAULTS.register("replay")
class Replay(NodeFault):
    """Sends again what it sent in an earlier round: a cache that was never emptied, or a recorded message."""

    keeps = True

    def before(self, moment: Moment) -> Message:
        """Honest work, of which a copy is kept."""
        reply = moment.honest()
        for key, record in reply.content.items():
            moment.context.state[KEPT + key] = record
        return reply

    def answer(self, moment: Moment) -> Message:
        """The kept reply; where there is none, as in a run that was resumed, this round's under the number before."""
        kept: Content = {key.removeprefix(KEPT): moment.context.state[key] for key in _kept(moment)}
        if not kept:
            kept = moment.work()
            client = kept[CLIENT]
            assert isinstance(client, ConfigRecord)
            kept[CLIENT] = ConfigRecord({**client, "round": moment.round - 1})
        return moment.reply(kept)


def _kept(moment: Moment) -> list[str]:
    return [key for key in moment.context.state if key.startswith(KEPT)]
