"""Playing a rehearsal: the attempts that must fail, then one run with everything else, resumed as often as it ends."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fedcrucible.engines.flower.command import FlowerRunError
from fedcrucible.rehearsal.fault import FAULTS, Attempt, Cut, Evidence, Placed
from fedcrucible.rehearsal.grammar import Programme
from fedcrucible.rehearsal.stage import STRANGER, ServerEndedError, Stage
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.records import files
from fedcrucible_core.records.events import read_chain
from fedcrucible_core.records.reader import read_rounds
from fedcrucible_core.records.schema import RoundRecord, RunSummary

Say = Callable[[str], None]
_ROUND = re.compile(r"round (\d+)/")
TIMES = {"seconds", "peak_memory_mb", "notes"}
SETUP, OUTPUT = "setup", "output"
"""Kinds of faults that are attempts of their own."""


@dataclass(frozen=True)
class Played:
    """What a rehearsal came to."""

    summary: RunSummary
    evidence: Evidence


class Conductor:
    """Plays one programme on one stage; ``say`` gets a line for all that happens."""

    def __init__(self, stage: Stage, settings: Mapping[str, Scalar], name: str, scratch: Path, say: Say) -> None:
        self.stage = stage
        self.programme: Programme = stage.programme
        self.settings = dict(settings)
        self.folder = stage.disk.folder / name
        self.scratch = scratch
        self.say = say
        self._cuts: list[Cut] = []
        self._done: set[Placed] = set()
        self._striking: Placed | None = None
        self._errors: list[str] = []

    def play(self) -> Played:
        """All of it. Raises FlowerRunError where the run ends though nothing was to end it."""
        attempts = {placed.kind: self._attempt(placed.kind) for placed in self.programme.faults if self._fails(placed)}
        summary = self._run()
        rounds = {record.round: record for record in self._recorded() if record.stage == "training"}
        evidence = Evidence(
            rounds=rounds,
            notes=summary.notes,
            lines={number: told(record) for number, record in rounds.items()},
            cuts=tuple(self._cuts),
            attempts=attempts,
            refused=self._refused(),
            died=self.stage.died(),
            keys=self._keys(),
            stranger=self.stage.stranger_key,
        )
        return Played(summary, evidence)

    # --- the run --------------------------------------------------------------------------------------------------

    def _run(self) -> RunSummary:
        settings: dict[str, Scalar] = {**self.settings, "output.name": self.folder.name}
        while True:
            try:
                return self.stage.run(settings, self._on_line, self._on_start)
            except ServerEndedError as ended:
                self._cut(str(ended))
            except FlowerRunError:
                if not self.stage.full:
                    raise
                self.stage.full = False
                self._cut(self._errors[-1] if self._errors else "the run failed without a word")
                self.stage.disk.free()
            settings["run.resume"] = True

    def _on_start(self, number: str) -> None:
        self.say(f"run {number} is accepted")
        self.stage.begins()
        self._strike(0)

    def _on_line(self, line: str) -> None:
        self.say(f"  {line}")
        if line.startswith("error: "):
            self._errors.append(line.removeprefix("error: "))
        found = _ROUND.match(line)
        if found and ": reply of" not in line:
            self.stage.tick(int(found[1]))
            self._strike(int(found[1]) + 1)

    def _strike(self, round: int) -> None:
        """Bring about what belongs to a round that begins; what ends the server goes last."""
        due = [placed for placed in self.programme.faults if placed.round == round and self._open(placed)]
        for placed in sorted(due, key=lambda placed: FAULTS[placed.kind].cuts_server):
            self._done.add(placed)
            self.say(f"{placed}: {_purpose(placed)}")
            if FAULTS[placed.kind].cuts_server:
                self._striking = placed
            FAULTS.create(placed.kind).strike(placed, self.stage)

    def _open(self, placed: Placed) -> bool:
        if self.stage.full and FAULTS[placed.kind].cuts_server:
            return False  # one end at a time: its round comes again when the disk has been emptied
        return placed not in self._done or FAULTS[placed.kind].strikes_again

    def _cut(self, moment: str) -> None:
        assert self._striking is not None
        before = {record.round: told(record) for record in self._recorded()}
        self._cuts.append(Cut(self._striking, moment, before))
        self.say(f"{self._striking}: {moment}; {len(before)} lines are recorded; the run is resumed")
        deadline = time.monotonic() + 30.0
        while self.stage.servers() and time.monotonic() < deadline:  # one that was told to stop still holds the folder
            time.sleep(0.1)

    def _recorded(self) -> list[RoundRecord]:
        path = self.folder / files.METRICS
        return read_rounds(path) if path.is_file() else []

    # --- what must fail -------------------------------------------------------------------------------------------

    @staticmethod
    def _fails(placed: Placed) -> bool:
        return placed.kind in {SETUP, OUTPUT}

    def _attempt(self, kind: str) -> Attempt:
        """A run that can't begin."""
        settings = attempt_settings(kind, self.settings, self.scratch)
        folder = self.scratch / str(settings["output.name"])
        self.say(f"{kind}: a run that can't begin")
        told: list[str] = []
        try:
            self.stage.run(settings, told.append, lambda _: _obstruct(folder) if kind == OUTPUT else None)
            said = "the run ended as if nothing were wrong"
        except FlowerRunError as error:
            lines = [line for line in told if line.startswith("error: ")]
            said = lines[-1].removeprefix("error: ") if lines else str(error).split("\n", 1)[0]
        path = folder / files.METRICS
        rounds = len(read_rounds(path)) if folder.is_dir() and path.is_file() else 0
        self.say(f"  {said}")
        if folder.is_file():
            folder.unlink()
        shutil.rmtree(folder, ignore_errors=True)
        return Attempt(said, rounds)

    # --- what is left of it ---------------------------------------------------------------------------------------

    def _refused(self) -> dict[str, str]:
        found = {}
        if self.programme.of("stale-key"):
            found["stale-key"] = self.stage.last_words(self.stage.stranger, f"{STRANGER}.log")
        for placed in self.programme.of("revoked"):
            process = self.stage.supernodes.get(placed.site if placed.site is not None else -1)
            found["revoked"] = self.stage.last_words(process, f"node-{placed.site}.log")
        return found

    def _keys(self) -> list[str]:
        events = read_chain(self.folder / files.EVENTS).events
        nodes = [facts for event in events if event.kind == "nodes" for facts in event.facts.values()]
        return sorted({str(facts.get("key")) for facts in nodes if isinstance(facts, dict)})


def told(record: RoundRecord) -> str:
    """All that a round's record says, apart from times, memory and what was news."""
    row = record.model_dump(mode="json", exclude=TIMES)
    row["per_client"].pop("client_seconds", None)
    return json.dumps(row, sort_keys=True)


def attempt_settings(kind: str, settings: Mapping[str, Scalar], scratch: Path) -> dict[str, Scalar]:
    """Settings of a run that can't begin, which are as good as any until the server needs what they name."""
    own: dict[str, Scalar] = {"output.dir": str(scratch), "output.name": kind}
    return {**settings, **own, **(_unreadable_pictures(scratch / "pictures", settings) if kind == SETUP else {})}


def _unreadable_pictures(folder: Path, settings: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Settings of a run whose server phase can't be prepared: one picture of each class, none of which is one."""
    from fedcrucible_core.config.load import load
    from fedcrucible_core.learning.datasets import load_task

    for name in load_task(load(settings).task).info.class_names:
        child = folder / re.sub(r"[^\w-]+", "_", name)
        child.mkdir(parents=True, exist_ok=True)
        (child / "1.png").write_bytes(b"no picture")
    return {
        "strategy": "fine-tune", "model.name": "cnn", "synthetic.source": "folder",
        "synthetic.folder.path": str(folder), "synthetic.per_class": 1,
    }  # fmt: skip


def _obstruct(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.write_text("a file in the place of the record's folder\n")


def _purpose(placed: Placed) -> str:
    return " ".join((FAULTS[placed.kind].__doc__ or "").split("\n\n")[0].split()).rstrip(".")
