"""Replies of an earlier round."""

from __future__ import annotations

from flwr.app import Message

from client_app.node_fault import NODE_FAULTS, Moment, NodeFault

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
        """The kept reply. Raises RuntimeError where the node has sent none before."""
        kept = {key.removeprefix(KEPT): moment.context.state[key] for key in _kept(moment)}
        if not kept:
            raise RuntimeError("no earlier reply to send again")
        return moment.reply(kept)  # type: ignore[arg-type]


def _kept(moment: Moment) -> list[str]:
    return [key for key in moment.context.state if key.startswith(KEPT)]
