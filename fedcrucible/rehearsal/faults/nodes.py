"""Nodes that die, come back, are slow, or come late."""

from __future__ import annotations

from fedcrucible.rehearsal.fault import FAULTS, Evidence, Fault, Judgement, Placed, Scene, replies

GONE = ("no reply in time", "error 3:", "error 5:")
"""How causes begin where nothing came: the deadline, or the SuperLink's word that the node is gone."""


@FAULTS.register("late")
class Late(Fault):
    """A site answers after the deadline."""

    def on_node(self, placed: Placed) -> str:
        """It is the node that is slow."""
        return f"late@{placed.round}"

    def judge(self, placed: Placed, evidence: Evidence) -> Judgement:
        """Dropped as late in its round; what it sends later is no reply to anything."""
        return _gone(placed, evidence, placed.round)


class Killed(Fault):
    """The node is killed with all its processes, and stays away."""

    removes_site = True

    def on_node(self, placed: Placed) -> str:
        """It is the node's own client that kills it, for it knows the moment."""
        return f"{placed.kind}@{placed.round}"

    def judge(self, placed: Placed, evidence: Evidence) -> Judgement:
        """No reply in its round; later ones lack it until it comes back."""
        found = _gone(placed, evidence, None)
        alive = placed.site not in evidence.died and not found.wrong
        return Judgement(found.seen, found.lost, "its SuperNode was never killed" if alive else found.wrong)


@FAULTS.register("kill-before")
class KillBefore(Killed):
    """A node is killed before it trains."""


@FAULTS.register("kill")
class KillDuring(Killed):
    """A node is killed while it trains."""


@FAULTS.register("kill-after")
class KillAfter(Killed):
    """A node is killed when it has trained, before it sends."""


class Comes(Fault):
    """A node is started in the midst of the run."""

    first_round = 2
    strikes_again = True

    def strike(self, placed: Placed, scene: Scene) -> None:
        """Start it."""
        assert placed.site is not None
        scene.start_site(placed.site)


@FAULTS.register("back")
class Back(Comes):
    """A node that was killed in an earlier round starts again, with the same key."""

    def judge(self, placed: Placed, evidence: Evidence) -> Judgement:
        """It takes part again, in the place that it had."""
        assert placed.round is not None
        assert placed.site is not None
        return _in_from(placed.site, placed.round, evidence)


@FAULTS.register("join")
class Join(Comes):
    """A site that wasn't there at the start comes later."""

    def judge(self, placed: Placed, evidence: Evidence) -> Judgement:
        """Absent before, then in."""
        assert placed.round is not None
        assert placed.site is not None
        early = evidence.accepted(placed.site, 1, placed.round - 1)
        found = _in_from(placed.site, placed.round, evidence, first=1)
        return Judgement(found.seen, found.lost, "expected it to be absent before" if early else found.wrong)


def _gone(placed: Placed, evidence: Evidence, last: int | None) -> Judgement:
    assert placed.round is not None
    assert placed.site is not None
    cause = evidence.cause(placed.round, placed.site)
    lost = evidence.lost(placed.site, placed.round, last)
    if last is None:  # gone until somebody starts it again
        back = evidence.accepted(placed.site, placed.round)
        lost = [number for number in lost if not back or number < back[0]]
    wrong = "" if cause.startswith(GONE) else f"expected a cause that begins with one of: {', '.join(GONE)}"
    return Judgement(cause or "no dropped reply", replies(lost), wrong)


def _in_from(site: int, round: int, evidence: Evidence, first: int | None = None) -> Judgement:
    back = evidence.accepted(site, round)
    lost = [n for n in evidence.lost(site, round if first is None else first) if not back or n < back[0]]
    if not back:
        return Judgement("still away", replies(lost), f"expected a valid reply from round {round} on")
    return Judgement(f"client {site} is in from round {back[0]} on", replies(lost))
