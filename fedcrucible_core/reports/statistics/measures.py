"""All numbers of one run, flat: those that its record declares, and those worked out of its rounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fedcrucible_core.records.numbers import Number, numbers_of
from fedcrucible_core.records.reader import RecordedRun
from fedcrucible_core.records.schema import (
    ClientSanitizerSummary,
    ClientsSummary,
    Detection,
    PrototypesSummary,
    Record,
    RunSummary,
    SanitizerSummary,
    SplitSummary,
)
from fedcrucible_core.reports.statistics.roc import roc

MB = 1e6
SERVER_PHASES = ("sample", "validate", "aggregate", "server")
PARTS: Mapping[str, type[Record]] = {
    "clients": ClientsSummary,
    "sanitizer": SanitizerSummary,
    "client_sanitizer": ClientSanitizerSummary,
    "split": SplitSummary,
    "prototypes": PrototypesSummary,
}
"""Parts of a summary that some runs have."""
Value = Callable[[RecordedRun], float | None]


def detection_of(run: RecordedRun) -> Detection | None:
    """Who was rejected; None where nobody was judged: without clients, and by the plain mean, which takes everybody."""
    return None if run.run.rule == "fedavg" else run.summary.detection


def _of_summary(field: str) -> Value:
    def value(run: RecordedRun) -> float | None:
        found: float | None = getattr(run.summary, field)
        return found

    return value


def _of_detection(field: str) -> Value:
    def value(run: RecordedRun) -> float | None:
        caught = detection_of(run)
        return None if caught is None else getattr(caught, field)

    return value


def _of_part(part: str, field: str) -> Value:
    def value(run: RecordedRun) -> float | None:
        found = getattr(run.summary, part)
        return None if found is None else getattr(found, field)

    return value


def _auroc(run: RecordedRun) -> float | None:
    found = roc(run.rounds)
    return found.auroc if found else None


def _rounds_above(run: RecordedRun) -> float | None:
    summary = run.summary
    return None if summary.asr_percent is None else summary.rounds_asr_above_20_percent


def _per_round(*phases: str) -> Value:
    return lambda run: sum(run.summary.seconds.get(phase, 0.0) for phase in phases) / max(1, run.summary.rounds)


_WORKED_OUT: tuple[tuple[Number, Value], ...] = (
    (Number("rounds_asr_above_20", "rounds with ASR > 20 %", "", "lower"), _rounds_above),
    (Number("auroc", "AUROC of scores", "", "higher"), _auroc),
    (Number("server_seconds_per_round", "server", "s/round", "lower"), _per_round(*SERVER_PHASES)),
    (Number("client_seconds_per_round", "clients", "s/round", "lower"), _per_round("train")),
    (Number("mb_down", "MB down", "", "lower"), lambda run: run.summary.bytes_down / MB),
    (Number("mb_up", "MB up", "", "lower"), lambda run: run.summary.bytes_up / MB),
)
_EVERY: dict[str, tuple[Number, Value]] = {
    number.column: (number, value)
    for number, value in (
        *((number, _of_summary(field)) for field, number in numbers_of(RunSummary).items()),
        *((number, _of_detection(field)) for field, number in numbers_of(Detection).items()),
        *(
            (number, _of_part(part, field))
            for part, kind in PARTS.items()
            for field, number in numbers_of(kind).items()
        ),
        *_WORKED_OUT,
    )
}
MEASURES = {column: number for column, (number, _) in _EVERY.items()}
"""Column of results.csv -> what it is; rates are those of the last evaluation unless the title says otherwise."""


def measured(run: RecordedRun, column: str) -> float | None:
    """A number of a run by its column; None where it wasn't measured."""
    return _EVERY[column][1](run)
