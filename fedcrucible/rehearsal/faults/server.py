"""What befalls the server in the midst of a run, which is then resumed."""

from __future__ import annotations

from typing import ClassVar

from fedcrucible.rehearsal.fault import FAULTS, Evidence, Fault, Judgement, Placed, Scene

RESUMED = ("resumed after round", "nothing to resume")


class ServerFault(Fault):
    """The run ends; with ``run.resume`` it goes on from the newest checkpoint to the same model."""

    takes_site = False
    cuts_server = True
    moment_is: ClassVar[str] = ""

    def judge(self, placed: Placed, evidence: Evidence) -> Judgement:
        """Every round that was recorded stands as it did, and the run has gone on."""
        cut = next((cut for cut in evidence.cuts if cut.fault == placed), None)
        if cut is None:
            return Judgement("nothing", "nothing", "the run never came to it")
        changed = [n for n, line in cut.before.items() if evidence.lines.get(n) != line]
        told = [note for note in evidence.notes if note.startswith(RESUMED)]
        place = list(evidence.cuts).index(cut)
        note = told[place] if place < len(told) else ""
        lost = "no aggregated round" if not changed else f"rounds {', '.join(map(str, changed))} came out otherwise"
        wrong = "a recorded round came out otherwise" if changed else "" if note or not cut.before else "not resumed"
        return Judgement(f"{cut.moment}; {note}" if note else cut.moment, lost, wrong)


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
