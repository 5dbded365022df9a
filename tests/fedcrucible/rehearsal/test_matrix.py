"""The whole matrix of faults without processes: what an operator sees of each, and that nothing aggregated is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedcrucible.rehearsal.conductor import Conductor, Played
from fedcrucible.rehearsal.fault import FAULTS
from fedcrucible.rehearsal.grammar import WHOLE, Programme, programme
from fedcrucible.rehearsal.matrix import as_object, printed
from fedcrucible.rehearsal.reference import counted_sha256
from fedcrucible.rehearsal.rehearse import Rehearsal, Row, judged, settings_of
from fedcrucible.rehearsal.strays import strays
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.records.verification import verify
from tests.support.imitated_stage import TURNED_AWAY, ImitatedStage

pytestmark = pytest.mark.slow  # five seconds, which the run of all faults takes
NODES = 4
SMALL: dict[str, Scalar] = {
    "model.name": "logistic",
    "task.train_samples": 80,
    "task.test_samples": 20,
    "federation.timeout_s": 0.2,
    "federation.wait_for_clients_s": 0.05,
    "federation.poll_s": 0.01,
}
LATE = "no reply in time"
SEEN: dict[str, tuple[str, str]] = {
    "setup": ("1.png: not a readable picture", "nothing: no round had begun"),
    "output": ("output.name = 'output'", "nothing: no round had begun"),
    "stale-key:0": (f"its own log: {TURNED_AWAY}", "nothing"),
    "duplicate:0": ("one reply counted in each of 9 rounds", "nothing"),
    "nan@1:1": ("parameters hold 1 values that are not finite", "1 reply (round 1)"),
    "inf@1:2": ("parameters hold 1 values that are not finite", "1 reply (round 1)"),
    "join@2:3": ("client 3 is in from round 2 on", "1 reply (round 1)"),
    "lie@2:1": ("claims 1000000000 examples, allowed 1 to 200 (federation.max_examples)", "1 reply (round 2)"),
    "oversize@2:2": ("parameters have shape (8000000,), expected (7850,)", "1 reply (round 2)"),
    "truncated@3:1": (
        "unreadable: array 'parameters' holds 15636 bytes, its shape (7850,) needs 31400",
        "1 reply (round 3)",
    ),
    "type-confused@3:2": ("record 'metrics' is a ConfigRecord, not a MetricRecord", "1 reply (round 3)"),
    "replay@4:3": ("answers round 3, asked was round 4", "1 reply (round 4)"),
    "late@4:2": (LATE, "1 reply (round 4)"),
    "kill-after@4:1": (LATE, "1 reply (round 4)"),
    "back@5:1": ("client 1 is in from round 5 on", "nothing"),
    "server-kill@5": ("server process killed; resumed after round 3 of 9", "no aggregated round"),
    "disk@6": ("No space left on device", "no aggregated round"),
    "superlink-restart@7": ("SuperLink killed; resumed after round", "no aggregated round"),
    "kill-before@8:1": (LATE, "2 replies (rounds 8, 9)"),
    "kill@8:2": (LATE, "2 replies (rounds 8, 9)"),
    "revoked@8:3": (f"{LATE}; its own log: {TURNED_AWAY}", "2 replies (rounds 8, 9)"),
}


@pytest.fixture(scope="module")
def monkeypatched() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def played(planned: Programme, folder: Path, patch: pytest.MonkeyPatch) -> tuple[Played, dict[str, Scalar]]:
    stage = ImitatedStage(planned, folder, patch)
    settings = settings_of(planned, SMALL)
    chosen: dict[str, Scalar] = {**settings, "output.dir": str(folder)}
    conductor = Conductor(stage, chosen, "whole", folder / "scratch", lambda _: None)  # type: ignore[arg-type]
    return conductor.play(), settings


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, monkeypatched: pytest.MonkeyPatch) -> Rehearsal:
    """All faults in one run of nine rounds."""
    planned, folder = programme("", NODES), tmp_path_factory.mktemp("rehearsal")
    found, settings = played(planned, folder, monkeypatched)
    return Rehearsal(
        planned,
        judged(planned, found.evidence),
        found.summary.parameters_sha256,
        counted_sha256(settings, found.evidence.rounds),
        verify(folder / "whole").problems,
        strays(planned, found.evidence),
        found.summary.notes,
        folder / "whole",
        "",
        1.0,
    )


def test_every_fault_has_its_place_in_the_matrix() -> None:
    assert {placed.kind for placed in programme(WHOLE, NODES).faults} == set(FAULTS)
    assert set(SEEN) == set(WHOLE.split(","))


@pytest.mark.parametrize("fault", SEEN)
def test_what_the_operator_sees_and_what_is_lost(fault: str, whole: Rehearsal) -> None:
    row: Row = next(row for row in whole.rows if str(row.fault) == fault)
    seen, lost = SEEN[fault]
    assert seen in row.judgement.seen
    assert row.judgement.lost == lost
    assert row.judgement.wrong == ""
    assert row.judgement.seen.isprintable()


def test_nothing_that_was_aggregated_is_lost(whole: Rehearsal) -> None:
    assert whole.sha256 == whole.counted, "the counted replies, and no others, made the model"
    assert whole.problems == ()
    assert whole.expected


def test_the_matrix_says_it(whole: Rehearsal) -> None:
    lines = printed(whole)
    assert lines[0] == "Rehearsal: 4 sites, 9 rounds, 1 s"
    assert "nan@1:1              as documented  lost: 1 reply (round 1)" in lines
    assert "aggregated rounds lost  none of 9" in lines
    assert lines[-2:] == ["verdict  as documented", f"record  {whole.record}"]
    told = json.loads(json.dumps(as_object(whole)))
    assert told["expected"] is True
    assert len(told["faults"]) == len(SEEN)
