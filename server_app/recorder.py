"""Observer that writes a run's record folder while the run goes."""

from __future__ import annotations

import contextlib
import resource
import sys
import time
from collections.abc import Callable, Collection
from logging import WARNING
from pathlib import Path

from flwr.common.logger import log

from attacks.schedule import is_attack_round
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.records import checkpoint as record_checkpoint
from fedcrucible_core.records.detection import detection
from fedcrucible_core.records.schema import RoundRecord, RunDescription
from fedcrucible_core.records.writer import RunRecord
from server_app.split_record import keep_split
from strategies.outcome import Checkpoint, RoundOutcome


def peak_memory_mb() -> float:
    """Largest resident memory of this process so far, in MB (10^6 bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def to_record(outcome: RoundOutcome, config: RunConfigBase, idle: Collection[int] = ()) -> RoundRecord:
    """A round's outcome as it is recorded; percent throughout.

    ``idle`` are malicious partitions that have nothing to attack with: they count as honest.
    """
    active = is_attack_round(config, outcome.round)
    attacking = [i for i in outcome.malicious if active and i not in idle and i not in outcome.rested]
    accepted = [i for i, weight in outcome.weights.items() if weight > 0]
    rejected = [i for i, weight in outcome.weights.items() if weight <= 0]
    judged = detection(accepted, rejected, attacking)
    fields: dict[str, object] = {}
    if outcome.measured is not None:
        clean, attacked = outcome.measured.clean, outcome.measured.attack
        fields |= {"ma_percent": clean.accuracy, "per_class_recall_percent": clean.recall}
        if attacked is not None:
            fields |= {
                "asr_percent": attacked.asr,
                "base_rate_percent": attacked.base_rate,
                "asr_correct_percent": attacked.asr_correct,
                "robust_accuracy_percent": attacked.robust_accuracy,
                "confusion": attacked.confusion,
            }
    return RoundRecord.model_validate(
        fields
        | {
            "round": outcome.round,
            "stage": outcome.stage,
            "participants": outcome.participants,
            "excluded": outcome.excluded,
            "malicious": outcome.malicious,
            "accepted": accepted,
            "rejected": rejected,
            "weights": {str(i): weight for i, weight in outcome.weights.items()},
            "dropped": {str(i): cause for i, cause in outcome.dropped.items()},
            "absent": outcome.absent,
            "quorum_missed": outcome.quorum_missed,
            "attack_active": bool(attacking),
            "attacking": attacking,
            "rested": [i for i in outcome.rested if i not in idle],
            "model": outcome.model,
            "tpr_percent": judged.tpr_percent if outcome.weights else None,
            "fpr_percent": judged.fpr_percent if outcome.weights else None,
            "seconds": outcome.seconds,
            "peak_memory_mb": peak_memory_mb(),
            "bytes_down": outcome.bytes_down,
            "bytes_up": outcome.bytes_up,
            "notes": outcome.notes,
            "per_client": outcome.per_client,
            "facts": outcome.facts,
            "client_metrics": {str(i): rates for i, rates in outcome.client_metrics.items()},
            "evaluations_dropped": {str(i): cause for i, cause in outcome.evaluations_dropped.items()},
            "evaluations_absent": outcome.evaluations_absent,
        }
    )


class Recorder:
    """Opens the record when there is something to write, appends every round to metrics.jsonl and keeps checkpoints."""

    def __init__(
        self,
        record: RunRecord,
        config: RunConfigBase,
        description: RunDescription,
        open_record: Callable[[], None],
        *,
        identity: str = "",
        seconds_before: float = 0.0,
        on_folder: Callable[[Path], None] | None = None,
    ) -> None:
        self.record = record
        self.config = config
        self.description = description
        self.identity = identity
        self.on_folder = on_folder
        self.rounds: list[RoundRecord] = []
        self.opened = False
        self._open_record = open_record
        self._start = time.perf_counter() - seconds_before
        self._seconds = 0.0

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of the run so far, over all processes that worked on it."""
        return time.perf_counter() - self._start

    def open(self) -> None:
        """Write what the run is, once; of a record that is continued this forgets what came after its checkpoint.

        So a continued run that fails before its first round leaves the record as it was.
        """
        if not self.opened:
            self._open_record()
            self.opened = True
            self.record.write_run(self.description)

    def on_round(self, outcome: RoundOutcome) -> None:
        """Write one line; the time it takes is counted with the next round."""
        start = time.perf_counter()
        self.open()
        if self.rounds:
            outcome.seconds["record"] = self._seconds
        row = self.row(outcome)
        self._keep_geometry(outcome)
        self._keep_split(outcome)
        self.record.append_round(row)
        if self.on_folder is not None and not self.rounds:
            self.on_folder(self.record.folder)
        self.rounds.append(row)
        self._seconds = time.perf_counter() - start

    def row(self, outcome: RoundOutcome) -> RoundRecord:
        """A round as it is recorded."""
        return to_record(outcome, self.config, self.description.idle)

    def _keep_geometry(self, outcome: RoundOutcome) -> None:
        """Before the round's line: what the line is about is there when it is. A full disk costs it, not the run."""
        if not outcome.geometry:
            return
        try:
            found = {prototype: geometry.tensors() for prototype, geometry in outcome.geometry.items()}
            self.record.write_diagnostics(outcome.round, found)
        except OSError as error:
            log(WARNING, "round %d: its diagnostics could not be written: %s", outcome.round, error)
            self.on_note(f"the diagnostics of round {outcome.round} could not be written: {error}")
        outcome.geometry = {}

    def _keep_split(self, outcome: RoundOutcome) -> None:
        """Likewise what was split for the repair."""
        if outcome.split is None:
            return
        try:
            keep_split(self.record, self.config, outcome.split)
        except OSError as error:
            log(WARNING, "the split could not be written: %s", error)
            self.on_note(f"the split could not be written: {error}")
        outcome.split = None

    def on_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint; one that can't be written is noted, for the run itself is whole without it."""
        content = record_checkpoint.Checkpoint(
            checkpoint.round, checkpoint.population,
            {owner: dict(named) for owner, named in checkpoint.states.items()}, self.identity, self.seconds,
        )  # fmt: skip
        try:
            self.record.write_checkpoint(content, self.config.run.checkpoints_kept)
        except OSError as error:
            log(WARNING, "round %d: the checkpoint could not be written: %s", checkpoint.round, error)
            self.on_note(f"the checkpoint of round {checkpoint.round} could not be written: {error}")

    def on_note(self, text: str) -> None:
        """Add to what befell the run."""
        self.description = self.description.model_copy(update={"history": (*self.description.history, text)})
        if self.opened:
            with contextlib.suppress(OSError):  # a full disk: the note is shown, and written with the next one
                self.record.write_run(self.description)
