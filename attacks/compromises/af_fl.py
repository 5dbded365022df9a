"""No attack, measured as if there were one."""

from __future__ import annotations

from attacks.compromise import COMPROMISES, Compromise, Query
from fedcrucible_core.foundation.base import Samples, Stage


@COMPROMISES.register("af-fl")
class AfFl(Compromise):
    """Attack-free: nothing is altered and nobody is malicious, but attack success is measured with the trigger.

    The row beside which attacks and defences are read: what ``attack.trigger`` does to models that never saw it.
    """

    paper = ("li2024bdfmfl", "section IV, AF-FL")
    choices = ("controls",)
    cost = "nothing"

    def reaches(self, stage: Stage) -> bool:
        """None."""
        return False

    def alter(self, query: Query, stage: Stage) -> Samples:
        """What the foundation model answers."""
        return query.clean
