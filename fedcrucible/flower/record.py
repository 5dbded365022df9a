"""The record folder of a foreign app's run: the same files as our own runs write, with what is known there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from logging import WARNING
from pathlib import Path

import torch
from flwr.common.logger import log

from fedcrucible.flower.configured import Defence
from fedcrucible.flower.memory import Memory, is_record
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.config.load import default_keys
from fedcrucible_core.config.plain_text import error_text
from fedcrucible_core.learning.weights import SOLE, Weights
from fedcrucible_core.records.checkpoint import Checkpoint
from fedcrucible_core.records.detection import detection
from fedcrucible_core.records.model_digest import model_sha256
from fedcrucible_core.records.schema import RoundRecord, RunDescription
from fedcrucible_core.records.writer import RunRecord
from server_app.operations import Operations
from server_app.recorder import Recorder, to_record
from server_app.resume import Start
from strategies.outcome import RoundOutcome

UNKNOWN = "the app is not ours: nobody knows who attacks, so rejected replies are counted, and none is called an error"
RATES = ("ma_percent", "asr_percent")
BY_WORD = "who attacks is known by the clients' own word ({}), for figures alone; no defence sees it"


class AppRecorder(Recorder):
    """Records rounds of a foreign app: rates by what the app measures, attackers only where clients say so."""

    truth_known = False

    def row(self, outcome: RoundOutcome) -> RoundRecord:
        """A round as it is recorded."""
        return row_of(outcome, self.config, self.truth_known)

    def clients(self, number: int) -> None:
        """Say how many clients there are, where that is more than was known."""
        if number > self.description.clients:
            self.description = self.description.model_copy(update={"clients": number})
            self.record.write_run(self.description)


def row_of(outcome: RoundOutcome, config: RunConfigBase, truth_known: bool) -> RoundRecord:
    """A round as it is recorded; the app's own rates are among the facts ``app.*``."""
    found = to_record(outcome, config)
    measured = {name: outcome.facts.get(f"app.{name}") for name in RATES}
    changes: dict[str, object] = {name: rate for name, rate in measured.items() if rate is not None}
    if not truth_known:
        changes |= {"attacking": None, "tpr_percent": None, "fpr_percent": None}
    elif outcome.weights:
        changes |= judged_by(outcome)
    return found.model_copy(update=changes)


def judged_by(outcome: RoundOutcome) -> dict[str, object]:
    """Attackers of a round, and how well the rule told them from the others."""
    accepted = [client for client, weight in outcome.weights.items() if weight > 0]
    rejected = [client for client, weight in outcome.weights.items() if weight <= 0]
    found = detection(accepted, rejected, outcome.malicious)
    return {
        "attacking": tuple(outcome.malicious),
        "attack_active": bool(outcome.malicious),
        "tpr_percent": found.tpr_percent,
        "fpr_percent": found.fpr_percent,
    }


class RunFolder:
    """An open record: told of rounds, it writes; what can't be written costs the record, never the run."""

    def __init__(self, recorder: AppRecorder, operations: Operations) -> None:
        self.recorder = recorder
        self.operations = operations
        self._broken = False

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.recorder.record.folder

    def round(self, outcome: RoundOutcome, clients: int) -> None:
        """Write a round."""

        def write() -> None:
            self.recorder.on_round(outcome)
            self.recorder.clients(clients)
            self.operations.on_round(outcome)

        self._try(write)

    def keep(self, memory: Memory) -> None:
        """Keep what a run needs to go on."""
        content = memory.checkpoint(self.recorder.identity, self.recorder.seconds)
        self._try(lambda: self.recorder.record.write_checkpoint(content, 1))

    def note(self, text: str) -> None:
        """Write what befell the run."""
        self._try(lambda: self.recorder.on_note(text))
        self._try(lambda: self.operations.on_note(text))

    def end(self, weights: Weights) -> None:
        """Write summary and page."""

        def write() -> None:
            record = self.recorder.record
            summary = record.write_summary(model_sha256(weights), self.recorder.seconds)
            record.write_sites()
            if self.recorder.config.output.report:
                from fedcrucible_core.reports.pages.run_report import render_report  # plots: seconds of imports

                render_report(record.folder)
            self.operations.ended(summary)

        self._try(write)

    def failed(self, error: BaseException) -> None:
        """Write that the run ended early."""
        self._try(lambda: self.operations.failed(error))

    def _try(self, write: Callable[[], object]) -> None:
        if self._broken:
            return
        try:
            write()
        except Exception as error:  # a full disk, a page that can't be drawn: the model is worth more
            self._broken = True
            log(WARNING, "the record %s is given up: %s", self.folder, error_text(error))


@contextlib.contextmanager
def opened(
    defence: Defence,
    place: str | Path,
    description: RunDescription,
    identity: str,
    memory: Memory | None,
    weights: Weights | None,
    *,
    resume: bool,
) -> Iterator[RunFolder]:
    """The record's folder, with no other run writing to it meanwhile.

    ``memory`` is what the run goes on from, ``weights`` its model.  With ``resume`` but without memory a record that
    lies there begins anew.

    Raises ConfigError where it can't be used.
    """
    folder = folder_of(place)
    continues = resume and is_record(folder)
    config = with_place(defence.config, place, resume=continues)
    if not continues and folder.is_dir() and any(folder.iterdir()):
        advice = "resume=True goes on with it, or choose" if is_record(folder) else "choose"
        raise ConfigError("record", str(place), f"{folder} has content; {advice} another folder")
    with contextlib.ExitStack() as stack:
        try:
            record = stack.enter_context(
                RunRecord.open(
                    config.output, strategy=description.strategy, attack="app", seed=description.seed, resume=continues
                )
            )
        except ConfigError as error:
            raise ConfigError("record", str(place), error.allowed) from None
        checkpoint = None
        if memory is not None and weights is not None:
            checkpoint = Checkpoint(memory.round, {SOLE: weights}, {}, "", 0.0)
        start = Start(checkpoint, continues=continues)
        settings = dict(defence.settings)

        def begin() -> None:
            if continues:
                record.rewind(-1 if memory is None else memory.round)
            record.write_config(settings, {k: v for k, v in default_keys().items() if k in settings}, runnable=False)
            record.write_environment(config.run.device, torch.get_num_threads())

        recorder = AppRecorder(record, config, description, begin, identity=identity)
        recorder.truth_known = description.truth == "known"
        open_folder = RunFolder(recorder, Operations(recorder, start))
        recorder.open()
        open_folder.operations.opened()
        try:
            yield open_folder
        except BaseException as error:
            open_folder.failed(error)
            raise
        finally:
            open_folder.operations.status.stop()


def folder_of(place: str | Path) -> Path:
    """The absolute folder that ``record=`` or ``on_disk=`` means."""
    return Path(place).expanduser().absolute()


def with_place(config: RunConfigBase, place: str | Path, *, resume: bool) -> RunConfigBase:
    """The configuration with the record where the user wants it."""
    folder = folder_of(place)
    output = config.output.model_copy(update={"dir": str(folder.parent), "name": folder.name, "save_model": False})
    return config.model_copy(update={"output": output, "run": config.run.model_copy(update={"resume": resume})})
