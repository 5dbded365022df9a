"""Who replied in a run's rounds, and who should have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from fedcrucible_core.records.schema import RoundRecord


def attendance(rounds: Sequence[RoundRecord]) -> dict[str, Any]:
    """The fields of a summary that say whether all came: ``status``, ``rounds_degraded``, ``lost``, ``never_heard``.

    Only rounds of training count.
    """
    trained = [r for r in rounds if r.stage == "training" and r.round >= 1]
    lost: Counter[int] = Counter()
    heard: set[int] = set()
    for record in trained:
        dropped = {client for client in record.participants if str(client) in record.dropped}
        lost.update(sorted(dropped | set(record.absent)))
        heard |= set(record.participants) - dropped
    degraded = sum(bool(r.quorum_missed) for r in trained)
    return {
        "status": "degraded" if degraded else "partial" if lost else "complete",
        "rounds_degraded": degraded,
        "lost": {str(client): lost[client] for client in sorted(lost)},
        "never_heard": tuple(client for client in sorted(lost) if client not in heard),
    }
