"""status.json and metrics.prom: how a run stands, after every round, across resumes, and never at the run's cost."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path

import pytest

from fedcrucible_core.config.atomic_file import write_atomic
from fedcrucible_core.records import files
from fedcrucible_core.records.drops import KINDS, counted, kind_of
from fedcrucible_core.records.prometheus import exposition
from fedcrucible_core.records.reader import parsed
from fedcrucible_core.records.schema import RoundRecord
from fedcrucible_core.records.status import RunStatus, of_rounds
from server_app import status_file
from strategies.replies import InvalidReplyError, received
from tests.support.tiny_runs import Scalar, play

FAST: dict[str, Scalar] = {"model__name": "logistic", "run__checkpoint_every": 1, "output__name": "x"}
TEXT = r'"(?:[^"\\\n]|\\["\\n])*"'
SAMPLE = re.compile(rf"fedcrucible_[a-z_]+\{{run={TEXT}(?:,[a-z]+={TEXT})*\}} [0-9.e+-]+")


def status_of(folder: Path) -> RunStatus:
    return parsed(folder / files.STATUS, RunStatus)


def samples(text: str) -> dict[str, float]:
    """Every sample; the text must be what Prometheus reads: one HELP and TYPE before a metric's samples."""
    found: dict[str, float] = {}
    named: list[str] = []
    for line in text.splitlines():
        if line.startswith("# HELP "):
            named.append(line.split()[2])
        elif line.startswith("# TYPE "):
            assert line.split()[2:] in ([named[-1], "gauge"], [named[-1], "counter"])
        else:
            assert SAMPLE.fullmatch(line), line
            assert line.partition("{")[0] == named[-1]
            key, _, value = line.rpartition(" ")
            found[key] = float(value)
    assert len(set(named)) == len(named)
    return found


def test_both_are_replaced_after_every_round(runs_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str, int | None]] = []

    def watched(path: Path, content: bytes) -> None:
        write_atomic(path, content)
        if path.name == files.STATUS:
            found = status_of(path.parent)
            seen.append((path.name, found.state, found.round))
        else:
            seen.append((path.name, "", None))

    monkeypatch.setattr(status_file, "write_atomic", watched)
    play(**FAST)

    states = [("starting", None), ("running", 0), ("running", 1), ("running", 2), ("finished", 2)]
    told = [(state, number) for name, state, number in seen if name == files.STATUS]
    assert [each for each, _ in groupby(told)] == states, "running rounds may be told between"
    assert sum(name == files.PROMETHEUS for name, _, _ in seen) == len(states)
    found = status_of(runs_folder / "x")
    assert (found.asked, found.replied, found.asked_total) == ((0, 1, 2, 3, 4), (0, 1, 2, 3, 4), 10)
    assert found.last_round is not None
    assert found.started <= found.last_round <= found.updated
    assert {"train", "aggregate"} <= set(found.seconds)
    written = samples((runs_folder / "x" / files.PROMETHEUS).read_text())
    assert written['fedcrucible_state{run="x",state="finished"}'] == 1
    assert written['fedcrucible_round{run="x"}'] == 2
    assert written['fedcrucible_clients_replied{run="x"}'] == 5
    assert written['fedcrucible_replies_dropped_total{run="x",cause="late"}'] == 0


def test_a_resumed_run_counts_on(runs_folder: Path) -> None:
    play(**FAST, run__rounds=1)
    before = status_of(runs_folder / "x")
    play(**FAST, run__rounds=3, run__resume=True)

    after = status_of(runs_folder / "x")
    assert (after.run, after.round, after.asked_total) == (before.run, 3, 15)
    assert after.seconds_total["train"] > before.seconds_total["train"]


def test_a_status_that_cannot_be_written_costs_nothing(
    runs_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(status_file, "write_atomic", full)
    summary, rounds = play(**FAST)

    assert len(rounds) == 3
    assert summary.state == "ok"
    assert not (runs_folder / "x" / files.STATUS).exists()


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        ("no reply in time", "late"),
        ("error 5: node gone", "node-gone"),
        ("error 2: no reply in time", "client-error"),
        ("could not be fetched: OSError: x", "not-fetched"),
        ("unreadable: KeyError: x", "unreadable"),
        ("record 'model' is missing", "invalid"),
    ],
)
def test_a_cause_is_of_few_kinds_which_no_site_can_choose(cause: str, kind: str) -> None:
    assert kind_of(cause) == kind
    assert counted([cause, cause]) == {kind: 2}


def test_the_kinds_are_of_the_words_that_replies_are_dropped_with() -> None:
    for message, kind in ((None, "late"), (OSError("x"), "not-fetched")):
        with pytest.raises(InvalidReplyError) as caught:
            received(message, lambda content: content)
        assert kind_of(str(caught.value)) == kind


def test_hostile_names_can_not_leave_their_label() -> None:
    record = RoundRecord.model_validate({"round": 1, "participants": [0], "dropped": {'0"} 1\nx': 'error 2: "}\n'}})
    name = 'a"b\\c\nd'
    status = RunStatus.model_validate({"run": "r", "name": name, "last_round": 1.0, **of_rounds([record])})

    told = samples(exposition(status))
    assert sum(value for key, value in told.items() if "replies_dropped{" in key) == 1
    assert len([key for key in told if 'cause="' in key]) == 2 * len(KINDS)
