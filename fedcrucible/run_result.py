"""A run as Python sees it: its numbers, its rounds, its page."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from fedcrucible.frames import frame_of
from fedcrucible_core.config.values import Scalar

if TYPE_CHECKING:
    import pandas as pd

    from fedcrucible_core.records.reader import RecordedRun
    from fedcrucible_core.records.schema import RoundRecord, RunSummary


@dataclass(frozen=True, repr=False)
class Run:
    """A recorded run; everything is read from its folder when it is asked for."""

    folder: Path

    @cached_property
    def record(self) -> RecordedRun:
        """All that the record holds, example images and features apart."""
        from fedcrucible_core.records.reader import read

        return read(self.folder, arrays=False)

    @property
    def summary(self) -> RunSummary:
        """The run in one object; see ``RunSummary`` for every number's meaning."""
        return self.record.summary

    @property
    def config(self) -> Mapping[str, Scalar]:
        """Every setting by dotted key."""
        return self.record.config

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the numbers must know."""
        return self.record.notes

    @property
    def ma_percent(self) -> float | None:
        """MA: accuracy on clean test images, in percent."""
        return self.summary.ma_percent

    @property
    def asr_percent(self) -> float | None:
        """ASR: attacked images of other classes that are called the target, in percent; None = not measured."""
        return self.summary.asr_percent

    @property
    def base_rate_percent(self) -> float | None:
        """The same images without the trigger that are called the target, in percent."""
        return self.summary.base_rate_percent

    @property
    def rounds(self) -> pd.DataFrame:
        """One row a round, by its number: rates in percent, who took part, seconds. Needs pandas."""
        return frame_of((_row(record) for record in self.record.rounds), "round")

    def report(self, again: bool = False) -> Path:
        """The path of the run's page; it is drawn where it is missing, or ``again``. Some seconds."""
        from fedcrucible_core.records.files import REPORT
        from fedcrucible_core.reports.pages.run_report import render_report

        page = self.folder / REPORT
        return render_report(self.folder) if again or not page.is_file() else page

    def __repr__(self) -> str:
        numbers = ", ".join(f"{title} {value}" for title, value, _ in self._numbers())
        return f"<{self._title()}: {numbers or 'no evaluated round'}; {self.folder}>"

    def _repr_html_(self) -> str:
        """For notebooks."""
        body = "".join(
            f"<tr><th style='text-align:left'>{html.escape(title)}</th><td>{html.escape(value)}</td>"
            f"<td style='text-align:left'>{html.escape(meaning)}</td></tr>"
            for title, value, meaning in self._numbers()
        )
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in self.notes)
        return (
            f"<b>{html.escape(self._title())}</b><table><tbody>{body}</tbody></table>"
            f"{f'<ul>{notes}</ul>' if notes else ''}<code>{html.escape(str(self.folder))}</code>"
        )

    def _title(self) -> str:
        run, summary = self.record.run, self.summary
        unfinished = "" if self.record.finished else ", unfinished"
        return f"{run.strategy} under {run.attack}, {run.dataset}, seed {run.seed}, {summary.rounds} rounds{unfinished}"

    def _numbers(self) -> Iterator[tuple[str, str, str]]:
        from fedcrucible_core.records.schema import RATES

        for field, number in RATES.items():
            value = getattr(self.summary, field)
            if number.tone and value is not None:
                yield number.title, f"{value:.2f} {number.unit}", number.of or number.meaning


def _row(record: RoundRecord) -> dict[str, object]:
    from fedcrucible_core.records.numbers import numbers_of

    return {
        "round": record.round,
        **{field: getattr(record, field) for field in numbers_of(type(record))},
        "participants": len(record.participants),
        "attackers": len(record.attackers),
        "accepted": len(record.accepted),
        "rejected": len(record.rejected),
        "dropped": len(record.dropped),
        "attack_active": record.attack_active,
        "stage": record.stage,
        "seconds": sum(record.seconds.values()),
        "notes": "; ".join(record.notes),
    }
