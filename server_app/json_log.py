"""Observer that tells a run as JSON lines: what programs that collect logs get instead of the lines for people."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from flwr.common.logger import FLOWER_LOGGER

from fedcrucible_core.config.json_log import LogContext, json_logs
from fedcrucible_core.records.drops import kind_of
from fedcrucible_core.records.schema import RunSummary
from server_app.console import round_line
from strategies.outcome import Checkpoint, NodeIdentity, RoundOutcome
from strategies.roster_news import partitions

MOST_NAMED = 100
"""Absent clients that a line lists by number."""
NOBODY = NodeIdentity(0, "", "")


class JsonLog:
    """Prints a line per round, per dropped reply, per note, and one at the end; what Flower logs becomes lines too."""

    def __init__(self, context: LogContext, rounds: int) -> None:
        self.context = context
        self.rounds = rounds

    @contextlib.contextmanager
    def speaking(self) -> Iterator[None]:
        """While this lasts Flower's own log lines are JSON, too; how the run fails is told before it is raised."""
        with json_logs(FLOWER_LOGGER, self.context):
            try:
                yield
            except BaseException as error:
                self.context.say("ERROR", "failed", f"{type(error).__name__}: {error}")
                raise

    def on_round(self, outcome: RoundOutcome) -> None:
        """Tell of the round and of each reply that it lost; what is logged from now on is about the next one."""
        self.context.round = outcome.round
        for client, cause in outcome.dropped.items():
            node = outcome.nodes.get(client, NOBODY)
            self.context.say(
                "WARNING",
                "dropped",
                f"reply of client {client} dropped: {cause}",
                client=client,
                node=str(node.node_id or ""),
                node_name=node.name,
                cause=kind_of(cause),
            )
        if outcome.absent:
            message = f"no usable node is online for {partitions(outcome.absent, 'client')}"
            self.context.say("WARNING", "absent", message, clients=outcome.absent[:MOST_NAMED])
        rates = outcome.measured
        self.context.say(
            "WARNING" if outcome.quorum_missed else "INFO",
            "round",
            round_line(outcome, self.rounds),
            stage=outcome.stage,
            asked=len(outcome.participants),
            replied=len(outcome.valid),
            rejected=[client for client, weight in outcome.weights.items() if weight <= 0],
            dropped=len(outcome.dropped),
            quorum_missed=outcome.quorum_missed,
            ma_percent=None if rates is None else rates.clean.accuracy,
            asr_percent=None if rates is None or rates.attack is None else rates.attack.asr,
            seconds=dict(outcome.seconds),
        )
        self.context.round = outcome.round + 1

    def on_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Tell that there is one."""
        self.context.say("INFO", "checkpoint", f"checkpoint of round {checkpoint.round}", round=checkpoint.round)

    def on_note(self, text: str) -> None:
        """Tell what befell the run."""
        self.context.say("INFO", "note", text)

    def ended(self, summary: RunSummary) -> None:
        """Tell how it ended."""
        self.context.say(
            "WARNING" if summary.status == "degraded" else "INFO",
            "end",
            f"record: {summary.folder}",
            round=summary.rounds,
            state=summary.state,
            status=summary.status,
            model_sha256=summary.parameters_sha256,
            ma_percent=summary.ma_percent,
            asr_percent=summary.asr_percent,
            notes=list(summary.notes),
        )
