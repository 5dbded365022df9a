"""What an operator has of a run beside its record: the account of its events, and how it stands."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from fedcrucible_core.config.json_log import LogContext, wanted
from fedcrucible_core.records.schema import RunSummary
from server_app.event_log import EventLog
from server_app.json_log import JsonLog
from server_app.recorder import Recorder
from server_app.resume import Start
from server_app.status_file import StatusFile
from strategies.outcome import Checkpoint, RoundOutcome


class Operations:
    """Observer of the loop that comes right after the recorder; events first, for the status names the last of them."""

    def __init__(self, recorder: Recorder, start: Start, flower_run: int | None = None) -> None:
        self.events = EventLog(recorder, start, flower_run)
        self.status = StatusFile(recorder, self.events)
        config, first = recorder.config, start.last_round + 1
        context = LogContext(self.events.run_id, flower_run, first)
        told = wanted(config.output.log) and not config.federation.blind
        self.log = JsonLog(context, config.run.rounds) if told else None

    @property
    def heard(self) -> Sequence[JsonLog]:
        """Who prints, where logs are to be JSON; lines for people are then the caller's to leave out."""
        return () if self.log is None else (self.log,)

    def speaking(self) -> AbstractContextManager[None]:
        """While this lasts Flower's log lines are of the kind that was asked for."""
        return nullcontext() if self.log is None else self.log.speaking()

    def opened(self) -> None:
        """Told that the record holds what the run is, before round 0."""
        self.status.opened()

    def on_round(self, outcome: RoundOutcome) -> None:
        """Told after each round."""
        self.events.on_round(outcome)
        self.status.on_round(outcome)
        for log in self.heard:
            log.on_round(outcome)

    def on_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Told after each checkpoint."""
        for log in self.heard:
            log.on_checkpoint(checkpoint)

    def on_note(self, text: str) -> None:
        """Told what belongs to the run as a whole."""
        self.events.on_note(text)
        for log in self.heard:
            log.on_note(text)

    def ended(self, summary: RunSummary) -> None:
        """Told that all files of the record are written."""
        self.events.ended(summary)
        self.status.ended(summary)
        for log in self.heard:
            log.ended(summary)

    def failed(self, error: BaseException) -> None:
        """Told that a run ended early; what can't be written then stays unwritten.

        A resumed run that hadn't begun leaves the record as it was.
        """
        if not self.status.recorder.opened:
            return
        with contextlib.suppress(OSError):
            self.events.failed(error)
        self.status.failed(error)
