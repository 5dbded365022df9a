"""Keys that don't open: never registered, or revoked while a run goes."""

from __future__ import annotations

from fedcrucible.rehearsal.fault import FAULTS, Evidence, Fault, Judgement, Placed, Scene, replies
from fedcrucible.rehearsal.faults.nodes import GONE


@FAULTS.register("stale-key")
class StaleKey(Fault):
    """A second node with an unregistered key poses as a site, from the start."""

    takes_round = False

    def judge(self, placed: Placed, evidence: Evidence) -> Judgement:
        """The SuperLink turns it away; the true site is not disturbed."""
        assert placed.site is not None
        said, lost = evidence.refused.get(placed.kind, ""), evidence.lost(placed.site, 1)
        inside = evidence.stranger in evidence.keys
        wrong = "the unregistered key took part" if inside else "" if said else "expected the SuperLink to turn it away"
        return Judgement(f"its own log: {said}" if said else "nothing", replies([] if not inside else lost), wrong)


@FAULTS.register("revoked")
class Revoked(Fault):
    """A site's key is revoked while it works on a round."""

    removes_site = True

    def on_node(self, placed: Placed) -> str:
        """A slow one, so that it is still at work."""
        return f"late@{placed.round}"

    def strike(self, placed: Placed, scene: Scene) -> None:
        """Unregister its key."""
        assert placed.site is not None
        scene.revoke_site(placed.site)

    def judge(self, placed: Placed, evidence: Evidence) -> Judgement:
        """Its reply is missing as if it had died, it takes no part any more, and its process ends by itself."""
        assert placed.round is not None
        assert placed.site is not None
        cause, again = evidence.cause(placed.round, placed.site), evidence.accepted(placed.site, placed.round)
        said = evidence.refused.get(placed.kind, "")
        wrong = "" if cause.startswith(GONE) else "expected no reply"
        wrong = wrong or ("it took part again" if again else "" if said else "expected its SuperNode to end by itself")
        seen = f"{cause or 'no dropped reply'}; its own log: {said or 'nothing'}"
        return Judgement(seen, replies(evidence.lost(placed.site, placed.round)), wrong)
