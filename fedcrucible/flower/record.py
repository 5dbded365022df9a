"""The record folder of a foreign app's run: the same files as our own runs write, with what is known there."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from logging import WARNING
from pathlib import Path

import numpy as np
import torch
from flwr.app import Array, ArrayRecord
from flwr.common.logger import log
from torch import Tensor

from fedcrucible.flower.configured import Defence
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.config.load import default_keys
from fedcrucible_core.learning.weights import SOLE, Weights
from fedcrucible_core.records.checkpoint import Checkpoint
from fedcrucible_core.records.detection import detection
from fedcrucible_core.records.model_digest import model_sha256
from fedcrucible_core.records.schema import RoundRecord, RunDescription
from fedcrucible_core.records.writer import RunRecord
from server_app.operations import Operations
from server_app.recorder import Recorder, to_record
from server_app.resume import Start
from strategies.arrays import STYPE
from strategies.outcome import RoundOutcome

UNKNOWN = "the app is not ours: nobody knows who attacks, so rejected replies are counted, and none is called an error"
RATES = ("ma_percent", "asr_percent")
BY_WORD = "who attacks is known by the clients' own word ({}), for figures alone; no defence sees it"
CODE = ("arrays/", "clients", "run", "inner")
"""Parts of a checkpoint beside what rule and purifier remember."""


@dataclass(frozen=True)
class Memory:
    """All that a run needs to go on after ``round``."""

    round: int
    arrays: ArrayRecord
    states: Mapping[str, Mapping[str, Tensor]]
    clients: Mapping[str, int]
    seed: int


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
        states: dict[str, dict[str, Tensor]] = {owner: dict(named) for owner, named in memory.states.items()}
        for key, array in memory.arrays.items():
            held = torch.from_numpy(np.frombuffer(array.data, np.uint8).copy())
            states.setdefault(f"arrays/{array.dtype}", {})[key] = held
        states["clients"] = {key: torch.tensor(number) for key, number in memory.clients.items()}
        states["run"] = {"seed": torch.tensor(memory.seed)}
        nothing = {SOLE: Weights(torch.zeros(0), torch.zeros(0))}
        content = Checkpoint(memory.round, nothing, states, self.recorder.identity, self.recorder.seconds)
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
        except OSError as error:
            self._broken = True
            log(WARNING, "the record %s is given up: %s", self.folder, error)


@contextlib.contextmanager
def opened(
    defence: Defence, place: str | Path, description: RunDescription, memory: Memory | None, weights: Weights | None
) -> Iterator[RunFolder]:
    """The record's folder, with no other run writing to it meanwhile; ``memory`` is what the run goes on from.

    Raises ConfigError where it can't be used.
    """
    config = with_place(defence.config, place, resume=memory is not None)
    with RunRecord.open(
        config.output, strategy=description.strategy, attack="app", seed=description.seed, resume=config.run.resume
    ) as record:
        continues = memory is not None
        checkpoint = None
        if memory is not None and weights is not None:
            checkpoint = Checkpoint(memory.round, {SOLE: weights}, {}, "", 0.0)
        start = Start(checkpoint, continues=continues)
        settings = dict(defence.settings)

        def begin() -> None:
            if memory is not None:
                record.rewind(memory.round)
            record.write_config(settings, {k: v for k, v in default_keys().items() if k in settings}, runnable=False)
            record.write_environment(config.run.device, torch.get_num_threads())

        recorder = AppRecorder(record, config, description, begin, identity=identity(defence))
        recorder.truth_known = description.truth == "known"
        folder = RunFolder(recorder, Operations(recorder, start))
        recorder.open()
        folder.operations.opened()
        try:
            yield folder
        except BaseException as error:
            folder.failed(error)
            raise
        finally:
            folder.operations.status.stop()


def remembered(defence: Defence, place: str | Path, like: ArrayRecord) -> Memory | None:
    """What the record at ``place`` kept of the run that goes on; None where there is nothing.

    Raises ConfigError where it is another run's, or its arrays aren't those of the app.
    """
    folder = folder_of(place)
    found = RunRecord(folder).latest_checkpoint(lambda text: log(WARNING, "%s", text)) if folder.is_dir() else None
    if found is None:
        return None
    if found.identity != identity(defence):
        raise ConfigError(
            "resume", str(folder), "it is a run of another defence or other settings; choose another record"
        )
    kept: dict[str, Array] = {}
    for owner, named in found.state.items():
        if owner.startswith("arrays/"):
            dtype = owner.removeprefix("arrays/")
            kept |= {key: _array(dtype, tensor, like.get(key)) for key, tensor in named.items()}
    if set(kept) != set(like):
        raise ConfigError("resume", str(folder), "its model has other arrays than initial_arrays")
    states = {owner: named for owner, named in found.state.items() if not owner.startswith(CODE) or owner == "inner"}
    return Memory(
        found.round,
        ArrayRecord({key: kept[key] for key in like}),
        states,
        {key: int(number) for key, number in found.state.get("clients", {}).items()},
        int(found.state["run"]["seed"]),
    )


def _array(dtype: str, data: Tensor, like: Array | None) -> Array:
    shape = () if like is None else tuple(like.shape)
    return Array(dtype, shape, STYPE, data.numpy().tobytes())


def identity(defence: Defence) -> str:
    """Digest of all settings but the seed, which a run may have drawn."""
    settings = {key: value for key, value in sorted(defence.settings.items()) if key != "run.seed"}
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()


def folder_of(place: str | Path) -> Path:
    """The absolute folder that ``record=`` means."""
    return Path(place).expanduser().absolute()


def with_place(config: RunConfigBase, place: str | Path, *, resume: bool) -> RunConfigBase:
    """The configuration with the record where the user wants it."""
    folder = folder_of(place)
    output = config.output.model_copy(update={"dir": str(folder.parent), "name": folder.name, "save_model": False})
    return config.model_copy(update={"output": output, "run": config.run.model_copy(update={"resume": resume})})
