"""From a run's rounds to its summary (docs/choices.md#last-rounds)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from fedcrucible_core.records.attendance import attendance
from fedcrucible_core.records.detection import pooled_detection
from fedcrucible_core.records.fact_summaries import (
    LAST_FEW,
    client_sanitizer_summary,
    clients_summary,
    prototypes_summary,
    sanitizer_summary,
    split_summary,
    upstream_rejected_percent,
)
from fedcrucible_core.records.findings import attack_rounds, findings, rounds_changed, state_of
from fedcrucible_core.records.intervals import wilson_of_rate
from fedcrucible_core.records.privacy import spent
from fedcrucible_core.records.schema import RATES, RoundRecord, RunDescription, RunSummary

LAST = 10
SUCCESS_PERCENT = 20.0


def summarize(
    run: RunDescription,
    rounds: Sequence[RoundRecord],
    *,
    parameters_sha256: str = "",
    seconds_total: float | None = None,
    folder: str = "",
) -> RunSummary:
    """Summary of all recorded rounds; without ``seconds_total`` it is the sum of the rounds' phases.

    Final numbers are those of the last evaluated round, or of the repair after it: then the means over the last rounds
    cover the repaired model alone, for the defended model is there only since.  A run that ended before its first
    evaluation gets None.
    """
    measured = [r for r in rounds if r.ma_percent is not None]
    repaired = [r for r in measured if r.stage == "repair"]
    trained = repaired or [r for r in measured if r.round >= 1] or measured
    attacked = [r for r in measured if r.asr_percent is not None and r.round >= run.attack_start_round]
    worst = max(attacked, key=lambda r: r.asr_percent or 0.0, default=None)
    final = measured[-1] if measured else RoundRecord(round=0)
    seconds = _phase_totals(rounds)
    private = spent(rounds)
    return RunSummary(
        strategy=run.strategy,
        attack=run.attack,
        seed=run.seed,
        rounds=max((r.round for r in rounds if r.stage == "training"), default=0),
        dataset=run.dataset,
        **{field: getattr(final, field) for field in RATES},
        ma_interval_percent=wilson_of_rate(final.ma_percent, run.test_images),
        asr_interval_percent=wilson_of_rate(final.asr_percent, run.triggered_images),
        attack_inputs=run.attack_inputs,
        net_asr_percent=final.net_asr_percent,
        last_rounds=len(trained[-LAST:]),
        ma_last_mean_percent=_mean([r.ma_percent for r in trained[-LAST:]]),
        asr_last_mean_percent=_mean([r.asr_percent for r in trained[-LAST:]]),
        ma_last_three_mean_percent=_mean([r.ma_percent for r in trained[-LAST_FEW:]]),
        asr_last_three_mean_percent=_mean([r.asr_percent for r in trained[-LAST_FEW:]]),
        clients=clients_summary(rounds),
        sanitizer=sanitizer_summary(rounds),
        split=split_summary(rounds),
        client_sanitizer=client_sanitizer_summary(rounds),
        upstream_rejected_percent=upstream_rejected_percent(run, rounds),
        prototypes=prototypes_summary(rounds),
        asr_max_percent=worst.asr_percent if worst else None,
        asr_max_round=worst.round if worst else None,
        rounds_asr_above_20_percent=sum((r.asr_percent or 0.0) > SUCCESS_PERCENT for r in measured if r.round >= 1),
        asr_after_stop_mean_percent=_mean([r.asr_percent for r in measured if 0 < run.attack_stop_round < r.round]),
        detection=pooled_detection(rounds) if run.truth == "known" else None,
        malicious_weight_percent=_malicious_weight(rounds),
        parameters_sha256=parameters_sha256,
        seconds_total=sum(seconds.values()) if seconds_total is None else seconds_total,
        seconds=seconds,
        peak_memory_mb=max((r.peak_memory_mb for r in rounds if r.peak_memory_mb is not None), default=None),
        bytes_down=sum(r.bytes_down for r in rounds),
        bytes_up=sum(r.bytes_up for r in rounds),
        dropped=dict(Counter(cause for r in rounds for cause in r.dropped.values()).most_common()),
        excluded=dict(Counter(str(partition) for r in rounds for partition in r.excluded)),
        knowledge=run.knowledge,
        folder=folder,
        epsilon=private.epsilon,
        delta=private.delta,
        private_rounds=private.rounds,
        privacy=run.privacy,
        notes=(*run.notes, *run.history, *findings(run, rounds)),
        state=state_of(run, rounds),
        **attendance(rounds),
        rounds_changed=rounds_changed(rounds),
        attack_rounds=attack_rounds(rounds),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return sum(known) / len(known) if known else None


def _phase_totals(rounds: Sequence[RoundRecord]) -> dict[str, float]:
    totals: dict[str, float] = {}
    for record in rounds:
        for phase, seconds in record.seconds.items():
            totals[phase] = totals.get(phase, 0.0) + seconds
    return totals


def _malicious_weight(rounds: Sequence[RoundRecord]) -> float | None:
    active = [r for r in rounds if r.attackers]
    total = sum(sum(r.weights.values()) for r in active)
    if total <= 0:
        return None
    return 100.0 * sum(r.weights.get(str(i), 0.0) for r in active for i in r.attackers) / total
