"""metrics.prom: a status in Prometheus' text format, for the node exporter's textfile collector; no port is opened.

Every sample carries ``run``, the record folder's name, so that the files of several runs may lie in one folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import get_args

from fedcrucible_core.records.drops import KINDS
from fedcrucible_core.records.status import RunStatus, State

PREFIX = "fedcrucible_"
Samples = Iterable[tuple[Mapping[str, str], float]]


def exposition(status: RunStatus) -> str:
    """The whole file."""
    return "".join(f"{line}\n" for line in _lines(status))


def _lines(status: RunStatus) -> Iterator[str]:
    run = {"run": status.name}
    for name, kind, meaning, samples in _metrics(status):
        found = list(samples)
        if found:
            yield f"# HELP {PREFIX}{name} {meaning}"
            yield f"# TYPE {PREFIX}{name} {kind}"
            for labels, value in found:
                pairs = ",".join(f'{key}="{_escaped(text)}"' for key, text in {**run, **labels}.items())
                yield f"{PREFIX}{name}{{{pairs}}} {value:.17g}"


def _metrics(status: RunStatus) -> Iterator[tuple[str, str, str, Samples]]:
    none: dict[str, str] = {}
    yield (
        "state",
        "gauge",
        "1 for the state that the run is in.",
        [({"state": state}, float(state == status.state)) for state in get_args(State)],
    )
    yield "updated_timestamp_seconds", "gauge", "When this file was written.", [(none, status.updated)]
    yield "started_timestamp_seconds", "gauge", "When this process began or resumed the run.", [(none, status.started)]
    yield "rounds", "gauge", "Rounds that there shall be.", [(none, float(status.rounds))]
    if status.round is None or status.last_round is None:
        return
    yield "round", "gauge", "The last round that ended.", [(none, float(status.round))]
    yield "last_round_timestamp_seconds", "gauge", "When the last round ended.", [(none, status.last_round)]
    yield "clients_asked", "gauge", "Clients asked in the last round.", [(none, float(len(status.asked)))]
    yield (
        "clients_replied",
        "gauge",
        "Clients with a valid reply in the last round.",
        [(none, float(len(status.replied)))],
    )
    yield (
        "clients_rejected",
        "gauge",
        "Clients that the rule rejected in the last round.",
        [(none, float(len(status.rejected)))],
    )
    yield (
        "replies_dropped",
        "gauge",
        "Replies dropped in the last round, by kind of cause.",
        [({"cause": kind}, float(status.dropped_by_cause.get(kind, 0))) for kind in KINDS],
    )
    yield (
        "replies_dropped_total",
        "counter",
        "Replies dropped in all rounds, by kind of cause.",
        [({"cause": kind}, float(status.dropped_total.get(kind, 0))) for kind in KINDS],
    )
    yield (
        "client_replies_dropped_total",
        "counter",
        "Replies dropped in all rounds, of clients that lost any.",
        [({"client": client}, float(count)) for client, count in status.dropped_by_client.items()],
    )
    yield (
        "round_phase_seconds",
        "gauge",
        "Wall-clock seconds of the last round, by phase.",
        [({"phase": phase}, seconds) for phase, seconds in status.seconds.items()],
    )
    yield (
        "phase_seconds_total",
        "counter",
        "Wall-clock seconds of all rounds, by phase.",
        [({"phase": phase}, seconds) for phase, seconds in status.seconds_total.items()],
    )
    yield "sent_bytes_total", "counter", "Bytes of models sent to clients.", [(none, float(status.bytes_down))]
    yield "received_bytes_total", "counter", "Bytes of models received from clients.", [(none, float(status.bytes_up))]
    for name, meaning, percent in (
        ("accuracy_ratio", "Accuracy on clean test inputs (MA), 0 to 1.", status.ma_percent),
        ("attack_success_ratio", "Attacked test inputs called the target (ASR), 0 to 1.", status.asr_percent),
    ):
        if percent is not None:
            yield name, "gauge", meaning, [(none, percent / 100.0)]


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
