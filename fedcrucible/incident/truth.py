"""Who really attacked, and how good a ranking of suspects is: asked for, and never part of the ranking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedcrucible.incident.evidence import Evidence
from fedcrucible.incident.suspicion import Suspect
from fedcrucible_core.records.detection import detection
from fedcrucible_core.records.schema import Detection


@dataclass(frozen=True)
class Truth:
    """The ground truth of a record."""

    attackers: frozenset[int]
    """Partitions that attacked in at least one round."""

    @classmethod
    def of(cls, evidence: Evidence) -> Truth:
        """As the rounds say; an attacker that never attacked counts as honest."""
        return cls(frozenset(site for each in evidence.rounds for site in each.record.attackers))

    def down_to(self, ranking: Sequence[Suspect], place: int) -> Detection:
        """What excluding the first ``place`` of the ranking would hit."""
        return self._of(ranking, [suspect.site for suspect in ranking[:place]])

    def flagged(self, ranking: Sequence[Suspect]) -> Detection:
        """What excluding all that stand out would hit."""
        return self._of(ranking, [suspect.site for suspect in ranking if suspect.stands_out])

    def _of(self, ranking: Sequence[Suspect], out: Sequence[int]) -> Detection:
        kept = [suspect.site for suspect in ranking if suspect.site not in out]
        return detection(kept, out, self.attackers)
