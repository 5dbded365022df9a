"""How a run goes on, on stderr: a bar on a terminal, one line per round elsewhere, or nothing."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from fedcrucible_core.config.plain_text import visible

if TYPE_CHECKING:
    from rich.progress import Progress

    from strategies.outcome import Checkpoint, RoundOutcome

T = TypeVar("T")
PAUSE = 10.0
"""Seconds between two lines on one piece of work."""


class Silent:
    """Observer that shows nothing."""

    def started(self, rounds: int, *, tested: bool = True) -> None:
        """Told the number of rounds, once it is known; ``tested`` False: rates are of no test data, none is shown."""

    def on_reply(self, done: int, total: int) -> None:
        """Told after each client of a round."""

    def on_step(self, what: str, done: int, total: int) -> None:
        """Told how far long work within a round is."""

    def on_round(self, outcome: RoundOutcome) -> None:
        """Told after each round."""

    def on_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Told after each checkpoint."""

    def on_note(self, text: str) -> None:
        """Told what belongs to the run as a whole."""


class Lines(Silent):
    """One plain line per round."""

    rounds, tested = 0, True
    _spoke = 0.0

    def on_step(self, what: str, done: int, total: int) -> None:
        """Print it, every ten seconds at most."""
        now = time.monotonic()
        if now - self._spoke >= PAUSE:
            self._spoke = now
            print(f"{what}: {done:,} of {total:,}", file=sys.stderr, flush=True)

    def started(self, rounds: int, *, tested: bool = True) -> None:
        """Remember how many there will be, and whether rates mean anything."""
        self.rounds, self.tested = rounds, tested

    def on_round(self, outcome: RoundOutcome) -> None:
        """Print the round and why replies were dropped."""
        from server_app.console import dropped_lines, round_line

        told = outcome if self.tested else replace(outcome, measured=None)
        print("\n".join([round_line(told, self.rounds), *dropped_lines(outcome)]), file=sys.stderr, flush=True)

    def on_note(self, text: str) -> None:
        """Print the note."""
        print(visible(f"note: {text}"), file=sys.stderr, flush=True)


class Bar(Silent):
    """A bar over rounds, with the clients of this round and the latest MA and ASR."""

    def __init__(self, progress: Progress) -> None:
        self.progress, self.tested = progress, True
        self.task = progress.add_task("loading", total=None, clients="", last="")

    def started(self, rounds: int, *, tested: bool = True) -> None:
        """Set the bar's length."""
        self.tested = tested
        self.progress.update(self.task, description="preparing", total=rounds)

    def on_reply(self, done: int, total: int) -> None:
        """Show how many clients of this round have answered."""
        self.progress.update(self.task, clients=f"client {done}/{total}" if done < total else "server")

    def on_step(self, what: str, done: int, total: int) -> None:
        """Show it where the clients stand."""
        self.progress.update(self.task, clients=f"{what} {done:,}/{total:,}")

    def on_round(self, outcome: RoundOutcome) -> None:
        """Move on by one round."""
        from server_app.console import dropped_lines, rates

        shown: dict[str, str] = {"last": rates(outcome)} if outcome.measured is not None and self.tested else {}
        self.progress.update(self.task, description="rounds", completed=outcome.round, clients="", **shown)  # type: ignore[arg-type]
        for line in [*(visible(f"round {outcome.round}: {note}") for note in outcome.notes), *dropped_lines(outcome)]:
            self.progress.console.print(line, markup=False, highlight=False)

    def on_note(self, text: str) -> None:
        """Print the note above the bar."""
        self.progress.console.print(visible(f"note: {text}"), markup=False, highlight=False)


@contextlib.contextmanager
def progress_display(quiet: bool) -> Iterator[Silent]:
    """The display that suits stderr."""
    with suitable(quiet, Silent, Lines, Bar, clients="{task.fields[clients]}") as display:
        yield display


@contextlib.contextmanager
def suitable(
    quiet: bool, silent: Callable[[], T], lines: Callable[[], T], bars: Callable[[Progress], T], **columns: str
) -> Iterator[T]:
    """Nothing, lines, or bars on a terminal, with further text ``columns``."""
    with held_back_logs():
        if quiet:
            yield silent()
        elif not sys.stderr.isatty():
            yield lines()
        else:
            with _progress(columns.values()) as progress:
                yield bars(progress)


@contextlib.contextmanager
def held_back_logs() -> Iterator[None]:
    """Without Flower's own log lines, which would say the same again, and transformers' bar for a small model."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    logger = logging.getLogger("flwr")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _progress(columns: Iterable[str]) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[last]}", markup=False),
        *(TextColumn(text, style="dim", markup=False) for text in columns),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
