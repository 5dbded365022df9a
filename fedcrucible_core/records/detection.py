"""How well a defence told malicious clients from honest ones (docs/choices.md#detection-counts)."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from fedcrucible_core.records.schema import Detection, RoundRecord


def detection(accepted: Collection[int], rejected: Collection[int], malicious: Collection[int]) -> Detection:
    """Counts and rates of one round; a malicious client that is rejected is a true positive."""
    bad, out, kept = set(malicious), set(rejected), set(accepted)
    return _rates(len(out & bad), len(kept & bad), len(out - bad), len(kept - bad))


def pooled_detection(rounds: Iterable[RoundRecord]) -> Detection | None:
    """Counts summed over rounds, rates of the sums; None when no round judged any reply.

    A malicious client counts as malicious in rounds in which it attacks.  In others it trains honestly, and so does one
    that has nothing to poison: what it uploads is honest work, so it counts as honest.  Rounds without attackers
    contribute to the false positive rate only.
    """
    parts = [detection(r.accepted, r.rejected, r.attackers) for r in rounds if r.accepted or r.rejected]
    if not parts:
        return None
    return _rates(
        sum(p.true_positives for p in parts),
        sum(p.false_negatives for p in parts),
        sum(p.false_positives for p in parts),
        sum(p.true_negatives for p in parts),
    )


def _rates(hits: int, missed: int, alarms: int, passed: int) -> Detection:
    return Detection(
        true_positives=hits,
        false_negatives=missed,
        false_positives=alarms,
        true_negatives=passed,
        tpr_percent=_percent(hits, hits + missed),
        fpr_percent=_percent(alarms, alarms + passed),
        precision_percent=_percent(hits, hits + alarms),
        f1_percent=_percent(2 * hits, 2 * hits + alarms + missed) if hits + missed else None,
    )


def _percent(part: int, whole: int) -> float | None:
    return 100.0 * part / whole if whole else None
