"""How a matrix goes on, on stderr: bars on a terminal, one line per run elsewhere, or nothing."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from fedcrucible.comparison.plan.cell import FLWR, Cell
from fedcrucible.comparison.plan.estimate import Estimate, Running
from fedcrucible.engines.batch import Finished, RoundNews
from fedcrucible.progress import suitable

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Silent:
    """Shows nothing."""

    def checking(self, done: int, total: int) -> None:
        """So many cells have been checked."""

    def begin(self, todo: Sequence[Cell], finished: Sequence[tuple[Cell, float]], workers: int) -> None:
        """Which runs there will be, and which were finished before."""

    def started(self, cell: Cell) -> None:
        """A cell has started."""

    def news(self, cell: Cell, news: RoundNews) -> None:
        """A round of a cell has ended."""

    def ended(self, cell: Cell, how: Finished) -> None:
        """A cell has ended."""

    def note(self, text: str) -> None:
        """What else a reader must know."""


class Counting(Silent):
    """Knows what runs, what waits, and how long it will take."""

    def __init__(self) -> None:
        self.estimate = Estimate()
        self.waiting: list[Cell] = []
        self.running: dict[Cell, tuple[float, float]] = {}
        """Cell -> its start and the share of its rounds that is done."""
        self.total = self.done = self.failed = 0
        self.workers = 1

    def begin(self, todo: Sequence[Cell], finished: Sequence[tuple[Cell, float]], workers: int) -> None:
        """Learn from what was finished before."""
        self.waiting, self.workers = list(todo), workers
        self.total, self.done = len(todo) + len(finished), len(finished)
        for cell, seconds in finished:
            self.estimate.learn(cell, seconds)

    def started(self, cell: Cell) -> None:
        """A cell has left the queue."""
        self.waiting.remove(cell)
        self.running[cell] = (time.monotonic(), 0.0)

    def news(self, cell: Cell, news: RoundNews) -> None:
        """A round has ended."""
        self.running[cell] = (self.running[cell][0], news.round / max(1, news.rounds))

    def ended(self, cell: Cell, how: Finished) -> None:
        """Learn how long it took."""
        self.running.pop(cell, None)
        self.done += 1
        self.failed += how.summary is None
        if how.summary is not None:
            self.estimate.learn(cell, how.seconds)

    def left(self) -> str:
        """The time left in words; empty while nothing is known."""
        now = time.monotonic()
        running = {cell: Running(now - start, share) for cell, (start, share) in self.running.items()}
        seconds = self.estimate.left(self.waiting, running, self.workers)
        return f"about {in_words(seconds)} left" if seconds and (self.waiting or running) else ""


class Lines(Counting):
    """One plain line per run that ends."""

    def begin(self, todo: Sequence[Cell], finished: Sequence[tuple[Cell, float]], workers: int) -> None:
        """Say what there is to do."""
        super().begin(todo, finished, workers)
        _say(f"{len(todo)} runs to do, {len(finished)} finished before")

    def ended(self, cell: Cell, how: Finished) -> None:
        """Print the result and the time left."""
        super().ended(cell, how)
        left = self.left()
        _say(f"[{self.done}/{self.total}] {result_line(cell, how)}{'; ' + left if left else ''}")

    def note(self, text: str) -> None:
        """Print it."""
        _say(text)


class EveryRound(Lines):
    """One plain line per round, too: for a handful of long runs."""

    def started(self, cell: Cell) -> None:
        """Say that it has."""
        super().started(cell)
        _say(f"[{cell.title}] {'starting Flower and Ray' if cell.engine == FLWR else 'started in the background'}")

    def news(self, cell: Cell, news: RoundNews) -> None:
        """Print the round."""
        super().news(cell, news)
        _say(f"[{cell.title}] {news.text}")


class Bars(Counting):
    """A bar over all runs, and one over the rounds of each that goes on."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self.progress = progress
        self.whole = progress.add_task("checking", total=None, last="")
        self.tasks: dict[Cell, TaskID] = {}

    def checking(self, done: int, total: int) -> None:
        """Move the first bar."""
        self.progress.update(self.whole, completed=done, total=total)

    def begin(self, todo: Sequence[Cell], finished: Sequence[tuple[Cell, float]], workers: int) -> None:
        """Set the first bar's length."""
        super().begin(todo, finished, workers)
        self.progress.reset(self.whole, description="runs", total=self.total, completed=self.done)

    def started(self, cell: Cell) -> None:
        """Add a bar."""
        super().started(cell)
        self.tasks[cell] = self.progress.add_task(f"  {cell.title}", total=None, last="")

    def news(self, cell: Cell, news: RoundNews) -> None:
        """Move its bar."""
        super().news(cell, news)
        task = self.tasks[cell]
        self.progress.update(task, completed=news.round, total=news.rounds)
        shown = "  ".join(part for part in news.text.split("  ") if part.startswith(("MA", "ASR")))
        if shown:
            self.progress.update(task, last=shown)
        self._tell()

    def ended(self, cell: Cell, how: Finished) -> None:
        """Take its bar away and print its result above the bars."""
        super().ended(cell, how)
        self.progress.remove_task(self.tasks.pop(cell))
        self.progress.console.print(result_line(cell, how), markup=False, highlight=False)
        self._tell()

    def note(self, text: str) -> None:
        """Print it above the bars."""
        self.progress.console.print(text, markup=False, highlight=False)

    def _tell(self) -> None:
        failed = f"{self.failed} failed  " if self.failed else ""
        self.progress.update(self.whole, completed=self.done, last=failed + self.left())


def result_line(cell: Cell, how: Finished) -> str:
    """A run that has ended, in one line."""
    from server_app.console import percent

    if how.summary is None:
        return f"{cell.title}: FAILED after {how.seconds:.0f} s: {how.cause}"
    return (
        f"{cell.title}: MA {percent(how.summary.ma_percent)}, ASR {percent(how.summary.asr_percent)} "
        f"({how.seconds:.0f} s)"
    )


def in_words(seconds: float) -> str:
    """A duration as one says it."""
    minutes = seconds / 60
    if minutes < 1.5:
        return f"{max(1, round(seconds))} s"
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


@contextlib.contextmanager
def matrix_display(quiet: bool, every_round: bool = False) -> Iterator[Silent]:
    """The display that suits stderr; ``every_round`` matters where it is no terminal."""
    with suitable(quiet, Silent, EveryRound if every_round else Lines, Bars) as display:
        yield display


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
