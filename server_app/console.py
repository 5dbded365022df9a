"""Observer that prints one line per round; what a user of ``flwr run --stream`` sees."""

from __future__ import annotations

from pathlib import Path

from fedcrucible_core.config.plain_text import visible
from fedcrucible_core.records import files
from fedcrucible_core.records.events import read_chain
from fedcrucible_core.records.privacy import privacy_line
from fedcrucible_core.records.schema import RunSummary
from strategies.outcome import Checkpoint, RoundOutcome

MOST_CAUSES = 3
"""Dropped replies whose cause is printed, per round."""


def percent(value: float | None) -> str:
    """A rate in percent with two decimals, or a dash."""
    return "-" if value is None else f"{value:.2f} %"


def rates(outcome: RoundOutcome) -> str:
    """MA and ASR of a round; empty where it wasn't evaluated."""
    if outcome.measured is None:
        return ""
    parts = [f"MA {percent(outcome.measured.clean.accuracy)}"]
    if outcome.measured.attack is not None:
        parts.append(f"ASR {percent(outcome.measured.attack.asr)}")
    return "  ".join(parts)


def round_line(outcome: RoundOutcome, rounds: int) -> str:
    """One round in one line."""
    parts = [f"round {outcome.round}/{rounds}" if outcome.stage == "training" else "repaired model"]
    if outcome.measured is not None:
        parts.append(rates(outcome))
    if outcome.participants and outcome.stage == "repair":
        parts.append(f"{len(outcome.valid)} of {len(outcome.participants)} clients answered")
    elif outcome.participants:
        kept = sum(weight > 0 for weight in outcome.weights.values())
        parts.append(f"accepted {kept} of {len(outcome.participants)}")
    if outcome.dropped:
        parts.append(f"dropped {len(outcome.dropped)}")
    parts.append(f"{sum(outcome.seconds.values()):.1f} s")
    return visible("  ".join([*parts, *outcome.notes]))


def dropped_lines(outcome: RoundOutcome) -> list[str]:
    """Why replies of a round were dropped, for the first few."""
    causes = [
        visible(f"round {outcome.round}: reply of client {client} dropped: {cause}")
        for client, cause in outcome.dropped.items()
    ]
    more = len(causes) - MOST_CAUSES
    return causes[:MOST_CAUSES] + ([f"round {outcome.round}: {more} more dropped"] if more > 0 else [])


class Console:
    """Prints rounds as they end."""

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds

    def on_round(self, outcome: RoundOutcome) -> None:
        """Print the round, and why replies were dropped."""
        print("\n".join([round_line(outcome, self.rounds), *dropped_lines(outcome)]), flush=True)

    def on_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Nothing to print."""

    def on_note(self, text: str) -> None:
        """Print the note."""
        print(visible(f"note: {text}"), flush=True)

    def finish(self, summary: RunSummary) -> None:
        """Print the final numbers and where they lie."""
        rates = f"MA {percent(summary.ma_percent)}, ASR {percent(summary.asr_percent)}"
        notes = [f"note: {note}" for note in summary.notes]
        chain = read_chain(Path(summary.folder) / files.EVENTS)
        proof = f"events: {chain.lines} lines, head {chain.head}"  # a copy of it that the folder's writers can't change
        lines = [f"{summary.strategy}: {rates}", privacy_line(summary), *notes, proof, f"record: {summary.folder}"]
        print("\n".join(visible(line) for line in lines if line), flush=True)
