"""How a call from Python goes on: one line that is rewritten, on a terminal or below a notebook's cell.

Elsewhere (a log file, a pipe) the plain lines of the commands, for a rewritten line would be unreadable there.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TextIO

from fedcrucible.comparison.execution import display as matrices
from fedcrucible.progress import Lines, Silent, held_back_logs
from fedcrucible_core.config.plain_text import visible

if TYPE_CHECKING:
    from fedcrucible.comparison.plan.cell import Cell
    from fedcrucible.engines.batch import Finished, RoundNews
    from strategies.outcome import RoundOutcome

WIDTH = 24
"""Characters of the bar."""
LONGEST = 110
"""Characters of the line."""


class Line:
    """A line that is written again and again."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.start = time.monotonic()
        self._last = 0

    def write(self, done: int, total: int, text: str) -> None:
        """Show a bar of ``done`` of ``total``, and a text."""
        full = WIDTH * done // total if total else 0
        line = f"[{'#' * full}{'-' * (WIDTH - full)}] {done}/{total or '?'}  {text}  {self._elapsed()}"
        line = visible(line)[:LONGEST]
        self.stream.write("\r" + line.ljust(self._last))
        self.stream.flush()
        self._last = len(line)

    def end(self) -> None:
        """Leave the line as it is."""
        if self._last:
            self.stream.write("\n")
            self.stream.flush()

    def _elapsed(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self.start), 60)
        return f"{minutes}:{seconds:02d}"


class RunLine(Silent):
    """Rounds of one run."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.done = self.rounds = 0
        self.last, self.tested = "", True

    def started(self, rounds: int, *, tested: bool = True) -> None:
        """Learn how many rounds there will be, and whether rates mean anything."""
        self.rounds, self.tested = rounds, tested
        self._show("preparing")

    def on_reply(self, done: int, total: int) -> None:
        """Tell the client's number."""
        self._show(f"client {done}/{total}" if done < total else "server")

    def on_step(self, what: str, done: int, total: int) -> None:
        """Tell how far it is."""
        self._show(f"{what} {done:,}/{total:,}")

    def on_round(self, outcome: RoundOutcome) -> None:
        """Tell the latest rates."""
        from server_app.console import rates

        self.done = min(outcome.round, self.rounds)
        self.last = (rates(outcome) or self.last) if self.tested else ""
        self._show("")

    def _show(self, doing: str) -> None:
        self.line.write(self.done, self.rounds, "  ".join(part for part in (self.last, doing) if part))


class MatrixLine(matrices.Counting):
    """Runs of a matrix."""

    def __init__(self, line: Line) -> None:
        super().__init__()
        self.line = line

    def checking(self, done: int, total: int) -> None:
        """Cells that have been checked."""
        self.line.write(done, total, "checking")

    def begin(self, todo: Sequence[Cell], finished: Sequence[tuple[Cell, float]], workers: int) -> None:
        """Learn what there is to do."""
        super().begin(todo, finished, workers)
        self._show("")

    def news(self, cell: Cell, news: RoundNews) -> None:
        """A round of a cell has ended."""
        super().news(cell, news)
        self._show(f"{cell.title}: round {news.round}/{news.rounds}")

    def ended(self, cell: Cell, how: Finished) -> None:
        """A cell has ended."""
        super().ended(cell, how)
        self._show("")

    def _show(self, doing: str) -> None:
        failed = f"{self.failed} failed" if self.failed else ""
        self.line.write(self.done, self.total, "  ".join(part for part in (failed, self.left(), doing) if part))


@contextlib.contextmanager
def run_display(progress: bool) -> Iterator[Silent]:
    """What suits a run."""
    stream = _stream()
    with held_back_logs():
        if not progress:
            yield Silent()
        elif stream is None:
            yield Lines()
        else:
            with _line(stream) as line:
                yield RunLine(line)


@contextlib.contextmanager
def matrix_line(progress: bool) -> Iterator[matrices.Silent]:
    """What suits a matrix."""
    stream = _stream()
    with held_back_logs():
        if not progress:
            yield matrices.Silent()
        elif stream is None:
            yield matrices.Lines()
        else:
            with _line(stream) as line:
                yield MatrixLine(line)


@contextlib.contextmanager
def _line(stream: TextIO) -> Iterator[Line]:
    line = Line(stream)
    try:
        yield line
    finally:
        line.end()


def _stream() -> TextIO | None:
    """Where a line can be rewritten: a notebook's output, or the terminal; None where there is neither."""
    if type(sys.stdout).__module__.startswith("ipykernel"):
        return sys.stdout
    return sys.stderr if sys.stderr.isatty() else None
