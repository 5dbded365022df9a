"""Two records of one run, before and after: rates of every round, final numbers, and what changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.table import Table

from fedcrucible.catalogue_text import console
from fedcrucible_core.records.reader import RecordedRun, read
from fedcrucible_core.records.schema import RoundRecord


@dataclass(frozen=True)
class RoundPair:
    """One round of both runs; None where one of them didn't have or measure it."""

    round: int
    stage: str
    ma_before: float | None
    ma_after: float | None
    asr_before: float | None
    asr_after: float | None
    out: tuple[int, ...]
    """Partitions that the second run left out."""


@dataclass(frozen=True)
class SideBySide:
    """Both runs."""

    before: RecordedRun
    after: RecordedRun
    rounds: tuple[RoundPair, ...]

    @classmethod
    def of(cls, before: Path, after: Path) -> SideBySide:
        """Read two records. Raises FileNotFoundError, DamagedRecordError."""
        first, second = read(before, arrays=False), read(after, arrays=False)
        ours, theirs = _rounds(first), _rounds(second)
        nothing = RoundRecord(round=0)
        pairs = []
        for key in sorted({*ours, *theirs}):
            a, b = ours.get(key, nothing), theirs.get(key, nothing)
            pairs.append(
                RoundPair(
                    key[0], key[1], a.ma_percent, b.ma_percent, a.asr_percent, b.asr_percent, theirs_out(theirs, key)
                )
            )
        return cls(first, second, tuple(pairs))

    @property
    def final(self) -> dict[str, tuple[float | None, float | None]]:
        """Rate to (before, after), of the final models."""
        one, two = self.before.summary, self.after.summary
        return {
            "MA": (one.ma_percent, two.ma_percent),
            "ASR": (one.asr_percent, two.asr_percent),
            "base rate": (one.base_rate_percent, two.base_rate_percent),
        }


def theirs_out(rounds: dict[tuple[int, str], RoundRecord], key: tuple[int, str]) -> tuple[int, ...]:
    """Who was left out of a round."""
    return rounds[key].excluded if key in rounds else ()


def _rounds(run: RecordedRun) -> dict[tuple[int, str], RoundRecord]:
    # "training" sorts after "repair": a repair is numbered one after the last round, so no two share a number
    return {(record.round, record.stage): record for record in run.rounds}


def print_side_by_side(both: SideBySide, names: Sequence[str] = ("before", "after")) -> None:
    """Per round and at the end; rates in percent, differences in points."""
    table = Table(title="MA and ASR in %", title_justify="left", box=None, pad_edge=False)
    for name in ("round", *(f"MA {n}" for n in names), "change", *(f"ASR {n}" for n in names), "change"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("left out")
    for pair in both.rounds:
        table.add_row(
            str(pair.round) if pair.stage == "training" else "repair",
            *_triple(pair.ma_before, pair.ma_after),
            *_triple(pair.asr_before, pair.asr_after),
            ", ".join(map(str, pair.out)),
        )
    console().print(table)
    for name, (before, after) in both.final.items():
        one, two, change = _triple(before, after)
        typer.echo(f"final {name}: {one} {names[0]}, {two} {names[1]}, {change} points")


def _triple(before: float | None, after: float | None) -> tuple[str, str, str]:
    change = "-" if before is None or after is None else f"{after - before:+.2f}"
    return _rate(before), _rate(after), change


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
