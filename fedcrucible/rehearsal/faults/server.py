"""What befalls the server in the midst of a run, which is then resumed."""

from __future__ import annotations

import re

from fedcrucible.rehearsal.fault import FAULTS, Evidence, Fault, Judgement, Placed, Scene

_RESUMED = re.compile(r"resumed after round (\d+) of|nothing to resume")


class ServerFault(Fault):
    """The run ends; with ``run.resume`` it goes on from the newest checkpoint to the same model."""

    takes_site = False
    cuts_server = True

    def judge(self, placed: Placed, evidence: Evidence) -> Judgement:
        """Every round that was recorded stands as it did, and the run has gone on."""
        cut = next((cut for cut in evidence.cuts if cut.fault == placed), None)
        if cut is None:
            return Judgement("nothing", "nothing", "the run never came to it")
        told = [found for note in evidence.notes if (found := _RESUMED.match(note))]
        place = list(evidence.cuts).index(cut)
        if place >= len(told):
            return Judgement(cut.moment, "nothing", "expected a note that the run was resumed")
        kept = int(told[place][1] or -1)
        lost = [str(n) for n, line in cut.before.items() if n <= kept and evidence.lines.get(n) != line]
        again = [str(n) for n in cut.before if n > kept]
        seen = f"{cut.moment}; {told[place].string}" + (f", round {', '.join(again)} again" if again else "")
        if lost:
            return Judgement(seen, f"rounds {', '.join(lost)} as they were", "a checkpointed round came out otherwise")
        return Judgement(seen, "no aggregated round")


@FAULTS.register("server-kill")
class ServerKill(ServerFault):
    """The server process of the run is killed (SIGKILL) at a seeded moment of a round; 0 = before round 0 ends."""

    first_round = 0

    def strike(self, placed: Placed, scene: Scene) -> None:  # noqa: ARG002
        """Kill it."""
        scene.kill_server()


@FAULTS.register("superlink-restart")
class SuperLinkRestart(ServerFault):
    """The SuperLink's machine loses power: all its processes are killed; it starts again on its database."""

    def strike(self, placed: Placed, scene: Scene) -> None:  # noqa: ARG002
        """Kill and start."""
        scene.restart_superlink()


@FAULTS.register("disk")
class FullDisk(ServerFault):
    """The disk of the records is full; there is room again before the run is resumed."""

    def strike(self, placed: Placed, scene: Scene) -> None:  # noqa: ARG002
        """Fill it."""
        scene.fill_disk()

    def judge(self, placed: Placed, evidence: Evidence) -> Judgement:
        """The run fails and names the file that it couldn't write."""
        found = super().judge(placed, evidence)
        named = "No space left on device" in found.seen or "File too large" in found.seen
        return found if named or found.wrong else Judgement(found.seen, found.lost, "expected an error about room")
