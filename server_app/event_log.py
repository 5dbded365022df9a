"""Observer that writes events.jsonl: an account of the run, in which each line vouches for those before it."""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path
from typing import Any

from fedcrucible_core.config.plain_text import error_text
from fedcrucible_core.records import files
from fedcrucible_core.records.environment import version_of
from fedcrucible_core.records.events import EventWriter, read_chain
from fedcrucible_core.records.model_digest import population_sha256
from fedcrucible_core.records.reader import parsed
from fedcrucible_core.records.schema import Environment, RunSummary
from fedcrucible_core.records.verification import file_sha256
from server_app.recorder import Recorder
from server_app.resume import Start
from strategies.outcome import NodeIdentity, RoundOutcome

RUN_ID_BYTES = 8


class EventLog:
    """Writes after the recorder has: what an event says of the record's files is then on the disk.

    Nothing is written before the recorder has opened the record, so that a resumed run which fails before its first
    round leaves the record as it was.
    """

    def __init__(self, recorder: Recorder, start: Start, flower_run: int | None = None) -> None:
        self.recorder = recorder
        self.start = start
        self.flower_run = flower_run
        self.path = recorder.record.folder / files.EVENTS
        self.run_id = _known_run_id(self.path) or secrets.token_hex(RUN_ID_BYTES)
        """Of the run, however often it is resumed; Flower's own is another one each time."""
        self._writer: EventWriter | None = None
        self._nodes: dict[int, NodeIdentity] = {}

    @property
    def head(self) -> str:
        """Hash of the last line; empty before there is one."""
        return self._writer.head if self._writer is not None else ""

    @property
    def lines(self) -> int:
        """Lines written so far, by all processes that worked on the run."""
        return self._writer.lines if self._writer is not None else 0

    def on_round(self, outcome: RoundOutcome) -> None:
        """Write who takes part, where that is new, and what came of the round."""
        writer = self._begun()
        fresh = {p: node for p, node in outcome.nodes.items() if self._nodes.get(p) != node}
        if fresh:
            self._nodes |= fresh
            writer.append("nodes", {str(p): _identity(node) for p, node in fresh.items()})
        line = self.recorder.rounds[-1].model_dump_json().encode()
        writer.append(
            "round",
            {
                "round": outcome.round,
                "stage": outcome.stage,
                "model_sha256": population_sha256(outcome.population),
                "metrics_sha256": hashlib.sha256(line).hexdigest(),
                "asked": len(outcome.participants),
                "rejected": [partition for partition, weight in outcome.weights.items() if weight <= 0],
                "dropped": {str(partition): cause for partition, cause in outcome.dropped.items()},
                "absent": outcome.absent,
                "quorum_missed": outcome.quorum_missed,
            },
        )

    def on_note(self, text: str) -> None:
        """Write what befell the run."""
        if self.recorder.opened:
            self._begun().append("note", {"text": text})

    def ended(self, summary: RunSummary) -> None:
        """Write how the run ended, with the hashes of its final files."""
        folder = self.recorder.record.folder
        models = files.models_in(folder) if self.recorder.config.output.save_model else []
        sites = [path for path in (folder / files.SITES,) if path.is_file()]
        self._begun().append(
            "end",
            {
                "state": summary.state,
                "status": summary.status,
                "model_sha256": summary.parameters_sha256,
                "files": {path.name: file_sha256(path) for path in (folder / files.SUMMARY, *sites, *models)},
            },
        )

    def failed(self, error: BaseException) -> None:
        """Write that the run ended early, and by what; nothing where it had not begun."""
        if self._writer is not None:
            self._writer.append("failed", {"error": error_text(error)})

    def _begun(self) -> EventWriter:
        if self._writer is None:
            self._writer = EventWriter(self.path)
            self._writer.append("resume" if self.start.continues else "start", self._beginning(self._writer))
        return self._writer

    def _beginning(self, writer: EventWriter) -> dict[str, Any]:
        folder = self.recorder.record.folder
        environment = parsed(folder / files.ENVIRONMENT, Environment)
        facts: dict[str, Any] = {
            "run": self.run_id,
            "flower_run": self.flower_run,
            "app_sha256": environment.source_sha256,
            "git_commit": environment.git_commit,
            "fedcrucible": version_of("fedcrucible"),
            "packages": dict(environment.packages),
            "config_sha256": file_sha256(folder / files.CONFIG),
            "data_sha256": self.recorder.description.data_sha256,
        }
        if self.start.continues:
            found = self.start.checkpoint
            facts |= {
                "after_round": self.start.last_round,
                "model_sha256": population_sha256(found.population) if found is not None else "",
                "cut_line": writer.before.torn,
                "broken": writer.before.fault,
                "notes": list(self.start.notes),
            }
        return facts


def _known_run_id(path: Path) -> str:
    """What the first event of an earlier part of the run calls it; empty where nobody says."""
    first = read_chain(path).events[:1]
    found = first[0].facts.get("run") if first else ""
    return found if isinstance(found, str) else ""


def _identity(node: NodeIdentity) -> dict[str, str]:
    return {"node": str(node.node_id), "name": node.name, "key": node.key}
