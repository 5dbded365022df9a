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
    """Name, type, meaning and samples of each metric; those of rounds only once there is one."""
    states = [({"state": state}, float(state == status.state)) for state in get_args(State)]
    yield "state", "gauge", "1 for the state that the run is in.", states
    yield "updated_timestamp_seconds", "gauge", "When this file was written.", _one(status.updated)
    yield "started_timestamp_seconds", "gauge", "When this process began or resumed the run.", _one(status.started)
    yield "rounds", "gauge", "Rounds that there shall be.", _one(status.rounds)
    if status.round is not None and status.last_round is not None:
        yield "round", "gauge", "The last round that ended.", _one(status.round)
        yield "last_round_timestamp_seconds", "gauge", "When the last round ended.", _one(status.last_round)
        yield from _of_clients(status)
        yield from _of_work(status)


def _of_clients(status: RunStatus) -> Iterator[tuple[str, str, str, Samples]]:
    yield "clients_asked", "gauge", "Clients asked in the last round.", _one(len(status.asked))
    yield "clients_replied", "gauge", "Clients with a valid reply in the last round.", _one(len(status.replied))
    yield "clients_rejected", "gauge", "Clients rejected by the rule in the last round.", _one(len(status.rejected))
    yield "clients_absent", "gauge", "Clients without a usable node in the last round.", _one(len(status.absent))
    yield "quorum_met", "gauge", "1 where all required replied in the last round.", _one(not status.quorum_missed)
    yield "rounds_degraded_total", "counter", "Rounds that missed the quorum.", _one(status.rounds_degraded)
    for name, kind, when, counts in (
        ("replies_dropped", "gauge", "the last round", status.dropped_by_cause),
        ("replies_dropped_total", "counter", "all rounds", status.dropped_total),
    ):
        samples = [({"cause": cause}, float(counts.get(cause, 0))) for cause in KINDS]
        yield name, kind, f"Replies dropped in {when}, by kind of cause.", samples
    lost = [({"client": client}, float(count)) for client, count in status.dropped_by_client.items()]
    yield "client_replies_dropped_total", "counter", "Replies dropped in all rounds, of clients that lost any.", lost


def _of_work(status: RunStatus) -> Iterator[tuple[str, str, str, Samples]]:
    for name, kind, when, seconds in (
        ("round_phase_seconds", "gauge", "the last round", status.seconds),
        ("phase_seconds_total", "counter", "all rounds", status.seconds_total),
    ):
        samples = [({"phase": phase}, value) for phase, value in seconds.items()]
        yield name, kind, f"Wall-clock seconds of {when}, by phase.", samples
    yield "sent_bytes_total", "counter", "Bytes of models sent to clients.", _one(status.bytes_down)
    yield "received_bytes_total", "counter", "Bytes of models received from clients.", _one(status.bytes_up)
    for name, meaning, percent in (
        ("accuracy_ratio", "Accuracy on clean test inputs (MA), 0 to 1.", status.ma_percent),
        ("attack_success_ratio", "Attacked test inputs called the target (ASR), 0 to 1.", status.asr_percent),
    ):
        if percent is not None:
            yield name, "gauge", meaning, _one(percent / 100.0)


def _one(value: float) -> Samples:
    return [({}, float(value))]


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
