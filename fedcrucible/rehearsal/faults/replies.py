"""Replies that can't be used: the node spoils them (``client_app/node_faults``), the server drops and names each."""

from __future__ import annotations

from typing import ClassVar

from fedcrucible.rehearsal.fault import FAULTS, Evidence, Fault, Judgement, Placed, replies


class SpoiledReply(Fault):
    """A reply that is dropped, with this in its cause; the round goes on with the others, the site with the next."""

    cause: ClassVar[str]

    def on_node(self, placed: Placed) -> str:
        """The node's own fault of the same name."""
        return f"{placed.kind}@{placed.round}"

    def judge(self, placed: Placed, evidence: Evidence) -> Judgement:
        """Dropped by this cause, and the site's next reply counts."""
        assert placed.round is not None
        assert placed.site is not None
        cause = evidence.cause(placed.round, placed.site)
        wrong = "" if self.cause in cause else f"expected a dropped reply: {self.cause}"
        return Judgement(
            cause or "no dropped reply", replies(evidence.lost(placed.site, placed.round, placed.round)), wrong
        )


@FAULTS.register("nan")
class Nan(SpoiledReply):
    """A parameter is NaN."""

    cause = "values that are not finite"


@FAULTS.register("inf")
class Inf(SpoiledReply):
    """A parameter is infinite."""

    cause = "values that are not finite"


@FAULTS.register("lie")
class Lie(SpoiledReply):
    """A site claims 10^9 examples."""

    cause = "claims 1000000000 examples"


@FAULTS.register("oversize")
class Oversize(SpoiledReply):
    """A reply of 32 MB."""

    cause = "have shape (8000000,)"


@FAULTS.register("truncated")
class Truncated(SpoiledReply):
    """A reply that was cut short."""

    cause = "unreadable"


@FAULTS.register("type-confused")
class TypeConfused(SpoiledReply):
    """A reply with texts where numbers belong."""

    cause = "not a MetricRecord"


@FAULTS.register("replay")
class Replay(SpoiledReply):
    """A reply of an earlier round, sent again."""

    cause = "answers round"
    first_round = 2


@FAULTS.register("duplicate")
class Duplicate(Fault):
    """A site sends every reply twice."""

    takes_round = False

    def judge(self, placed: Placed, evidence: Evidence) -> Judgement:
        """Nothing is seen of it: the first counts, the second answers nothing that is open."""
        assert placed.site is not None
        lost, kept = evidence.lost(placed.site, 1), evidence.accepted(placed.site, 1)
        wrong = "" if kept and not lost else "expected one valid reply in every round"
        return Judgement(f"one reply counted in each of {len(kept)} rounds", replies(lost), wrong)
