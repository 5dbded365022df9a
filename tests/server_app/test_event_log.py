"""A run's account: what it says, that it survives kills and resumes, and that ``verify`` finds what was changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fedcrucible_core.records import files
from fedcrucible_core.records.events import EventWriter, read_chain
from fedcrucible_core.records.verification import Verification, verify
from tests.support.tiny_runs import Scalar, play

FAST: dict[str, Scalar] = {"model__name": "logistic", "run__checkpoint_every": 1, "output__name": "x"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A record of two rounds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEDCRUCIBLE_RUNS", str(tmp_path_factory.mktemp("runs")))
        return Path(play(**FAST)[0].folder)


@pytest.fixture
def record(finished: Path, tmp_path: Path) -> Path:
    """A copy of it to spoil."""
    return Path(shutil.copytree(finished, tmp_path / "runs" / "x"))


def kinds(folder: Path) -> list[str]:
    return [event.kind for event in read_chain(folder / files.EVENTS).events]


def rows(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def test_a_run_is_told_from_start_to_end(finished: Path) -> None:
    chain = read_chain(finished / files.EVENTS)
    start, *rounds, end = (event.facts for event in chain.events)
    summary = json.loads((finished / files.SUMMARY).read_text())

    assert kinds(finished) == ["start", "round", "round", "round", "end"]
    assert len(start["app_sha256"]) == len(start["config_sha256"]) == len(start["data_sha256"]) == 64
    assert [told["round"] for told in rounds] == [0, 1, 2]
    assert len({told["model_sha256"] for told in rounds}) == 3
    assert rounds[-1]["model_sha256"] == end["model_sha256"] == summary["parameters_sha256"]
    assert set(end["files"]) == {files.SUMMARY, files.MODEL}
    found = verify(finished)
    assert (found.problems, found.remarks, found.rounds) == ((), (), 3)
    assert verify(finished, chain.events[2].sha256).whole
    assert verify(finished, "0" * 64).problems[0].startswith("no line of events.jsonl has the hash")


def _replace(name: str, old: bytes, new: bytes) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        content = (folder / name).read_bytes()
        assert old in content
        (folder / name).write_bytes(content.replace(old, new, 1))

    return spoil


def _drop_lines(name: str, place: slice) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        content = rows(folder / name)
        del content[place]
        (folder / name).write_bytes(b"".join(content))

    return spoil


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_replace(files.EVENTS, b'"rejected":[]', b'"rejected":[1]'), "events.jsonl, line 2 was changed"),
        (_replace(files.METRICS, b'"round":1', b'"round":7'), "metrics.jsonl, line 2 (round 7) was changed"),
        (_replace(files.CONFIG, b'"run.seed": 1', b'"run.seed": 2'), "config.json was changed"),
        (_replace(files.SUMMARY, b'"seed": 1', b'"seed": 2'), "summary.json was changed"),
        (lambda folder: (folder / files.MODEL).write_bytes(b"other"), "model.safetensors was changed"),
        (lambda folder: (folder / files.MODEL).unlink(), "model.safetensors is missing"),
        (_drop_lines(files.METRICS, slice(2, 3)), "metrics.jsonl lacks round 2"),
        (_drop_lines(files.EVENTS, slice(2, 3)), "events.jsonl, line 3 doesn't follow the line before it"),
        (_drop_lines(files.EVENTS, slice(4, 5)), "summary.json is there, but no event says that the run ended"),
        (_drop_lines(files.EVENTS, slice(2, 5)), "metrics.jsonl holds 2 rounds that no event is about"),
    ],
)
def test_what_was_changed_is_named_first(record: Path, spoil: Callable[[Path], None], said: str) -> None:
    spoil(record)

    found = verify(record)
    assert not found.whole
    assert found.problems[0].startswith(said)


def resumed(folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: Scalar) -> Verification:
    monkeypatch.setenv("FEDCRUCIBLE_RUNS", str(folder.parent))
    play(**{**FAST, "run__resume": True, **changes})
    return verify(folder)


@pytest.mark.parametrize("torn", [False, True])
def test_a_resumed_run_goes_on_with_the_chain(record: Path, torn: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in round 2, perhaps while it wrote the event of that round."""
    *kept, last = rows(record / files.EVENTS)[:4]
    (record / files.EVENTS).write_bytes(b"".join([*kept, last[: len(last) // 2] if torn else b""]))
    for name in (files.SUMMARY, files.MODEL, "checkpoints/round-0000002.safetensors"):
        (record / name).unlink()
    before = verify(record)
    assert before.whole
    assert len(before.remarks) == 2 + torn

    found = resumed(record, monkeypatch, run__rounds=3)

    assert (found.problems, found.remarks, found.rounds) == ((), (), 4)
    assert kinds(record) == ["start", "round", "round", "resume", "round", "round", "end"]
    first, *_, resume = (e.facts for e in found.chain.events if e.kind in ("start", "resume"))
    assert resume["run"] == first["run"]
    assert (resume["after_round"], resume["cut_line"]) == (1, torn)


def test_another_model_to_go_on_from_is_found(record: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody put another checkpoint there: of the same run, but of another round."""
    (record / files.EVENTS).write_bytes(b"".join(rows(record / files.EVENTS)[:4]))
    (record / files.SUMMARY).unlink()
    writer = EventWriter(record / files.EVENTS)
    writer.append("resume", {**read_chain(writer.path).events[0].facts, "after_round": 2, "model_sha256": "0" * 64})

    assert "went on from another model than round 2 ended with" in verify(record).problems[0]


def test_a_finished_run_that_is_resumed_stays_whole(record: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resumed(record, monkeypatch).whole
    assert kinds(record)[-3:] == ["end", "resume", "end"]


def test_a_record_without_events_is_resumed_with_a_chain_of_its_own(
    record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (record / files.EVENTS).unlink()
    with pytest.raises(FileNotFoundError, match="earlier version"):
        verify(record)

    found = resumed(record, monkeypatch, run__rounds=3)

    assert kinds(record) == ["resume", "round", "end"]
    assert (found.problems, found.rounds) == ((), 1)
    assert found.remarks == ("rounds 0 to 2 were recorded before events.jsonl began: nothing proves them",)


def test_a_run_that_fails_says_so_and_one_that_never_began_leaves_nothing(
    runs_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from strategies.federation import Federation

    def fail(self: Federation, server_round: int, *_: object) -> object:
        raise RuntimeError(f"round {server_round}\x1b[31m failed")

    monkeypatch.setattr(Federation, "advance", fail)
    with pytest.raises(RuntimeError):
        play(**FAST)

    folder = runs_folder / "x"
    assert kinds(folder) == ["start", "round", "failed"]
    found = verify(folder)
    assert found.whole
    assert found.remarks[0].endswith("its last event: failed: RuntimeError: round 1\ufffd[31m failed")
