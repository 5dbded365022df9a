"""A rehearsal from its settings to its matrix."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fedcrucible.engines.flower.submission import checked
from fedcrucible.polite_kill import terminated_as_interrupted
from fedcrucible.rehearsal.conductor import OUTPUT, SETUP, Conductor, attempt_settings
from fedcrucible.rehearsal.disk import record_disk
from fedcrucible.rehearsal.fault import FAULTS, Evidence, Judgement, Placed
from fedcrucible.rehearsal.grammar import Programme
from fedcrucible.rehearsal.reference import counted_sha256
from fedcrucible.rehearsal.stage import Stage
from fedcrucible.rehearsal.strays import strays
from fedcrucible_core.config.errors import ConfigError
from fedcrucible_core.config.load import overlaid
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.records.location import run_folder
from fedcrucible_core.records.verification import verify

DEFAULTS: Mapping[str, Scalar] = {
    "strategy": "fedavg",
    "adversary.malicious_fraction": 0.0,
    "task.train_samples": 400,
    "task.test_samples": 200,
    "partition.name": "iid",
    "model.name": "cnn",
    "training.local_epochs": 1,
    "federation.min_replies": 1,
    "federation.timeout_s": 60.0,
    "federation.wait_for_clients_s": 60.0,
    "federation.poll_s": 0.5,
    "output.report": False,
}
"""Beneath an operator's settings: a small model and no attack, so that all the time goes into what fails."""
OURS = ("run.rounds", "federation.clients", "run.checkpoint_every", "run.resume", "federation.excluded")
"""Settings that a rehearsal makes itself."""


@dataclass(frozen=True)
class Row:
    """One fault of the matrix."""

    fault: Placed
    judgement: Judgement

    @property
    def expected(self) -> bool:
        """Whether all was as documented."""
        return not self.judgement.wrong


@dataclass(frozen=True)
class Rehearsal:
    """What a rehearsal came to."""

    programme: Programme
    rows: tuple[Row, ...]
    sha256: str
    """Of the final model."""
    counted: str
    """Of the model that the counted replies come to in one process."""
    problems: tuple[str, ...]
    """What ``fedcrucible verify`` says against the record."""
    strays: tuple[str, ...]
    """Replies that were lost though no fault was to lose them."""
    notes: tuple[str, ...]
    record: Path
    disk: str
    """How a full disk was brought about; empty where none was."""
    seconds: float

    @property
    def expected(self) -> bool:
        """Whether the federation behaved as documented throughout."""
        return (
            all(row.expected for row in self.rows)
            and self.sha256 == self.counted
            and not (self.problems or self.strays)
        )


def settings_of(programme: Programme, given: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """The run's settings. Raises ConfigError for one that is the rehearsal's own."""
    for key in OURS:
        if key in given:
            allowed = "a rehearsal sets it itself; --nodes and --rounds say how many, --fault what goes wrong"
            raise ConfigError(key, given[key], allowed)
    own: dict[str, Scalar] = {
        "run.rounds": programme.rounds,
        "federation.clients": programme.nodes,
        "run.checkpoint_every": 1,
    }
    return overlaid(DEFAULTS, given, own)


def rehearse(
    programme: Programme,
    given: Mapping[str, Scalar],
    say: Callable[[str], None] = print,
    on_folder: Callable[[Path], None] = lambda _: None,
) -> Rehearsal:
    """Play a programme with real processes on this machine, and judge it; ``on_folder`` is told where a record lies.

    Raises ConfigError before anything starts, FlowerRunError where the run ends though nothing was to end it.
    """
    start, settings = time.monotonic(), settings_of(programme, given)
    config = checked(settings)
    small = bool(programme.of("disk"))
    with terminated_as_interrupted(), tempfile.TemporaryDirectory(prefix="fedcrucible-rehearsal-") as name:
        scratch = Path(name)
        for kind in {placed.kind for placed in programme.faults} & {SETUP, OUTPUT}:
            checked(attempt_settings(kind, settings, scratch))
        final = run_folder(config.output, "rehearsal", config.strategy, config.run.seed)
        with record_disk(scratch / "records" if small else final.parent, small=small) as disk:
            chosen: dict[str, Scalar] = {**settings, "output.dir": str(disk.folder)}
            chosen.pop("output.name", None)
            with Stage(programme, config.run.seed, disk) as stage:
                say(f"SuperLink on {stage.address}, {programme.nodes} sites, {programme.rounds} rounds")
                conductor = Conductor(stage, chosen, final.name, scratch, say)
                try:
                    played = conductor.play()
                finally:
                    _keep(conductor.folder, final)
                    if final.is_dir():
                        on_folder(final)
        say("the same again in this process, with the replies that counted")
        counted = counted_sha256(settings, played.evidence.rounds)
    return Rehearsal(
        programme,
        judged(programme, played.evidence),
        played.summary.parameters_sha256,
        counted,
        verify(final).problems,
        strays(programme, played.evidence),
        played.summary.notes,
        final,
        disk.kind if small else "",
        time.monotonic() - start,
    )


def judged(programme: Programme, evidence: Evidence) -> tuple[Row, ...]:
    """Every fault of a programme with what came of it."""
    return tuple(Row(placed, FAULTS.create(placed.kind).judge(placed, evidence)) for placed in programme.faults)


def _keep(made: Path, final: Path) -> None:
    """Bring the record to where the operator finds it, whatever came of it."""
    if made.is_dir() and made != final:
        shutil.copytree(made, final, dirs_exist_ok=True)
    elif final.is_dir() and not any(final.iterdir()):
        final.rmdir()
