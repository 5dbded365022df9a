"""Runs that can't begin: each is an attempt of its own, before the run of the other faults."""

from __future__ import annotations

from typing import ClassVar

from fedcrucible.rehearsal.fault import FAULTS, Evidence, Fault, Judgement, Placed


class NoBeginning(Fault):
    """The run ends before round 1, with one line that says why."""

    takes_round = False
    takes_site = False
    says: ClassVar[str]

    def judge(self, placed: Placed, evidence: Evidence) -> Judgement:
        """One line, no round."""
        attempt = evidence.attempts.get(placed.kind)
        if attempt is None:
            return Judgement("nothing", "nothing", "it was never tried")
        wrong = "" if self.says in attempt.said else f"expected an error with: {self.says}"
        wrong = "rounds were recorded" if attempt.rounds else wrong
        return Judgement(attempt.said, "nothing: no round had begun", wrong)


@FAULTS.register("setup")
class SetupFails(NoBeginning):
    """The server's own data can't be read when its phase is prepared."""

    says = "replace or remove it"


@FAULTS.register("output")
class UnwritableOutput(NoBeginning):
    """The record's folder can't be written on the server."""

    says = "output."
