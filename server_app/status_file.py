"""Observer that keeps status.json and metrics.prom beside the record: how the run stands, for programs and people."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from logging import WARNING

from flwr.common.logger import log

from fedcrucible_core.config.atomic_file import write_atomic
from fedcrucible_core.config.plain_text import error_text
from fedcrucible_core.records import files
from fedcrucible_core.records.prometheus import exposition
from fedcrucible_core.records.schema import RoundRecord, RunSummary
from fedcrucible_core.records.status import RunningRound, RunStatus, State, of_rounds
from server_app.event_log import EventLog
from server_app.live_status import LiveStatus
from server_app.recorder import Recorder
from strategies.outcome import RoundOutcome
from strategies.progress import Progress


class StatusFile:
    """Told after recorder and event log.  Neither file is part of the record: one that can't be written costs a line
    in the log, never the run."""

    def __init__(self, recorder: Recorder, events: EventLog) -> None:
        self.recorder = recorder
        self.events = events
        self.status = RunStatus(
            run=events.run_id,
            flower_run=events.flower_run,
            name=recorder.record.folder.name,
            strategy=recorder.description.strategy,
            attack=recorder.description.attack,
            pid=os.getpid(),
            rounds=recorder.description.rounds,
            started=time.time(),
        )
        self._earlier: list[RoundRecord] | None = None
        """Rounds that other processes recorded, of a run that is resumed."""
        self._complained = False
        self._writing = threading.Lock()
        self.progress = Progress()
        """Where the loop says how far it is."""
        self._live = LiveStatus(self.progress, self._tell_progress)

    def opened(self) -> None:
        """Told that the record holds what the run is."""
        self._write("starting")
        self._live.start()

    def stop(self) -> None:
        """Look no more at how the round goes."""
        self._live.stop()

    def on_round(self, outcome: RoundOutcome) -> None:  # noqa: ARG002
        """Write how the run stands after a round."""
        if self._earlier is None:
            self._earlier = self.recorder.record.rounds()[: -len(self.recorder.rounds)]
        found = of_rounds([*self._earlier, *self.recorder.rounds])
        self.progress.end()
        self._write("running", last_round=time.time(), now=None, **found)
        self._live.start()

    def ended(self, summary: RunSummary) -> None:
        """Write that the run is over, and whether all came that were required."""
        self.stop()
        self._write("degraded" if summary.status == "degraded" else "finished", now=None)

    def failed(self, error: BaseException) -> None:
        """Write that the run ended early, and why."""
        self.stop()
        state: State = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        self._write(state, error=error_text(error), now=None)

    def _tell_progress(self, now: RunningRound) -> None:
        """Called from the thread that looks at the running round; what the last round came to stays as it is."""
        with self._writing:
            if self.progress.phase:  # the round may have ended since
                self.status = self.status.model_copy(update={"now": now, "updated": time.time()})
                self._save(files.STATUS, self._as_json())

    def _write(self, state: State, **changes: object) -> None:
        with self._writing:
            self._replace(state, changes)

    def _replace(self, state: State, changes: Mapping[str, object]) -> None:
        events = {"events": self.events.lines, "events_head": self.events.head}
        known = {name: getattr(self.status, name) for name in RunStatus.model_fields}
        told = {"state": state, "updated": time.time()}
        self.status = RunStatus.model_validate({**known, **changes, **events, **told})
        self._save(files.STATUS, self._as_json())
        self._save(files.PROMETHEUS, exposition(self.status).encode())

    def _as_json(self) -> bytes:
        return (self.status.model_dump_json(indent=1) + "\n").encode()

    def _save(self, name: str, content: bytes) -> None:
        try:
            write_atomic(self.recorder.record.folder / name, content)
        except OSError as error:
            if not self._complained:
                log(WARNING, "the run's status could not be written: %s", error)
            self._complained = True
