"""What a rehearsal calls unexpected: a federation that is not as documented fails it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fedcrucible.rehearsal.disk import Disk, record_disk
from fedcrucible.rehearsal.fault import FAULTS, Attempt, Cut, Evidence, Judgement, Placed
from fedcrucible.rehearsal.grammar import programme
from fedcrucible.rehearsal.matrix import as_object, printed
from fedcrucible.rehearsal.rehearse import Rehearsal, Row, settings_of
from fedcrucible.rehearsal.repeating_node import Twice
from fedcrucible.rehearsal.strays import strays
from fedcrucible_core.config.errors import ConfigError
from fedcrucible_core.records.schema import RoundRecord


def evidence(**more: object) -> Evidence:
    """Three rounds of three sites in which nothing went wrong."""
    everybody = {"participants": (0, 1, 2), "accepted": (0, 1, 2), "model": "changed"}
    rounds = {n: RoundRecord(round=n, **(everybody if n else {})) for n in range(4)}  # type: ignore[arg-type]
    return Evidence(**{"rounds": rounds, **more})  # type: ignore[arg-type]


def judge(placed: Placed, found: Evidence) -> Judgement:
    return FAULTS.create(placed.kind).judge(placed, found)


@pytest.mark.parametrize("kind", [name for name in FAULTS if name not in {"duplicate", "back", "join"}])
def test_a_fault_that_nobody_sees_is_unexpected(kind: str) -> None:
    fault = FAULTS[kind]
    placed = Placed(kind, 2 if fault.takes_round else None, 1 if fault.takes_site else None)
    assert judge(placed, evidence()).wrong


def test_an_accepted_reply_before_a_site_joins_is_unexpected() -> None:
    assert judge(Placed("join", 2, 1), evidence()).wrong == "expected it to be absent before"


def test_a_site_that_never_comes_back_is_unexpected() -> None:
    gone = {n: RoundRecord(round=n, participants=(0,), accepted=(0,), absent=(1, 2)) for n in (1, 2, 3)}
    found = judge(Placed("back", 2, 1), evidence(rounds=gone))
    assert (found.seen, found.lost) == ("still away", "2 replies (rounds 2, 3)")
    assert found.wrong == "expected a valid reply from round 2 on"


def test_a_node_that_only_was_slow_was_not_killed() -> None:
    late = RoundRecord(round=2, participants=(0, 1), accepted=(0,), dropped={"1": "no reply in time"})
    found = evidence(rounds={2: late})
    assert judge(Placed("kill", 2, 1), found).wrong == "its SuperNode was never killed"
    assert judge(Placed("kill", 2, 1), replace(found, died=frozenset({1}))).wrong == ""


def test_a_repeated_reply_that_costs_the_site_a_round_is_unexpected() -> None:
    dropped = {n: RoundRecord(round=n, participants=(0, 1), accepted=(0,), dropped={"1": "twice"}) for n in (1, 2)}
    assert judge(Placed("duplicate", None, 1), evidence(rounds=dropped)).wrong


def test_a_key_that_nobody_registered_and_that_took_part_is_unexpected() -> None:
    found = evidence(refused={"stale-key": "denied"}, keys=("SHA256:a", "SHA256:b"), stranger="SHA256:b")
    assert judge(Placed("stale-key", None, 0), found).wrong == "the unregistered key took part"


@pytest.mark.parametrize(
    ("note", "now", "wrong"),
    [
        ("resumed after round 2 of 4", "two", ""),
        ("resumed after round 1 of 4", "other", ""),
        ("resumed after round 2 of 4", "other", "a checkpointed round came out otherwise"),
        ("", "two", "expected a note that the run was resumed"),
    ],
)
def test_a_checkpointed_round_that_came_out_otherwise_is_lost(note: str, now: str, wrong: str) -> None:
    placed = Placed("server-kill", 3)
    cut = Cut(placed, "killed", {0: "zero", 1: "one", 2: "two"})
    found = evidence(cuts=(cut,), notes=(note,), lines={0: "zero", 1: "one", 2: now})
    assert judge(placed, found).wrong == wrong


def test_a_run_that_should_not_have_begun_is_unexpected() -> None:
    said = "SourceError: x.png: not a picture; replace or remove it"
    assert judge(Placed("setup"), evidence(attempts={"setup": Attempt(said, 0)})).wrong == ""
    assert judge(Placed("setup"), evidence(attempts={"setup": Attempt(said, 2)})).wrong == "rounds were recorded"


def rehearsal(sha256: str, wrong: str) -> Rehearsal:
    planned = programme("nan@1", 2)
    row = Row(planned.faults[0], Judgement("a cause\x1b[31m", "1 reply (round 1)", wrong))
    return Rehearsal(planned, (row,), sha256, "aa", (), (), (), Path("record"), "", 2.0)


@pytest.mark.parametrize(
    ("sha256", "wrong", "last"),
    [("aa", "", "as documented"), ("bb", "", "UNEXPECTED: 0 of 1 faults"), ("aa", "why", "UNEXPECTED: 1 of 1 faults")],
)
def test_the_command_ends_by_what_was_found(
    fedcrucible, monkeypatch: pytest.MonkeyPatch, sha256: str, wrong: str, last: str
) -> None:
    found = rehearsal(sha256, wrong)
    monkeypatch.setattr("fedcrucible.rehearsal.rehearse.rehearse", lambda *_: found)
    told = fedcrucible("rehearse", "--fault", "nan@1", "--nodes", "2")
    assert told.exit_code == (0 if last == "as documented" else 1)
    assert f"verdict  {last}" in told.stdout
    assert "sees: a cause\ufffd[31m" in told.stdout
    as_json = fedcrucible("rehearse", "--fault", "nan@1", "--nodes", "2", "--json")
    assert f'"expected": {"true" if last == "as documented" else "false"}' in as_json.stdout
    assert ("ANOTHER MODEL" in "\n".join(printed(found))) == (sha256 != "aa")
    assert as_object(found)["faults"]


def test_a_reply_that_no_fault_explains_is_unexpected() -> None:
    late = RoundRecord(
        round=2, participants=(0, 1, 2), accepted=(2,), dropped={"0": "no reply in time", "1": "not finite"}
    )
    found = evidence(rounds={2: late, 3: RoundRecord(round=3, absent=(2,))})
    assert strays(programme("nan@2:1", 3), found) == (
        "round 2, client 0: no reply in time",
        "round 3, client 2: its node was not online",
    )
    assert strays(programme("nan@2:1,kill@1:0,join@2:2", 4), found) == ()
    slow = replace(rehearsal("aa", ""), strays=("round 2, client 0: no reply in time",))
    assert not slow.expected
    assert "too slow for federation.timeout_s" in "\n".join(printed(slow))


def test_a_setting_of_the_rehearsal_itself_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"federation\.clients = 9: a rehearsal sets it itself"):
        settings_of(programme("nan@1", 2), {"federation.clients": 9})


def test_a_reply_is_sent_twice_with_all_its_parts() -> None:
    sent: list[tuple[object, ...]] = []

    def send(*what: object) -> tuple[set[str], str]:
        sent.append(what)
        return {"part"}, f"session {len(sent)}"

    twice = Twice(send, lambda *what: sent.append(what))
    assert twice.send("message", "tree", 1.0) == ({"part"}, "session 1")
    twice.push_object(7, "session 1", "part", b"content")
    first = list(sent)
    twice.again()
    assert first == [("message", "tree", 1.0), (7, "session 1", "part", b"content")]
    assert sent[2:] == [("message", "tree", 1.0), (7, "session 3", "part", b"content")]


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a file system of its own, or limits a process")
def test_a_full_disk_is_full_until_it_is_freed(tmp_path: Path) -> None:
    with record_disk(tmp_path / "records", small=True) as disk:
        if not disk.mounted:
            pytest.skip("this process may mount nothing")
        disk.fill([])
        with pytest.raises(OSError, match="No space left"):
            (disk.folder / "more").write_bytes(bytes(10_000))
        disk.free()
        (disk.folder / "more").write_bytes(bytes(10_000))
    assert not (tmp_path / "records" / "more").exists(), "it is unmounted"


@pytest.mark.skipif(sys.platform != "linux", reason="limits another process")
def test_without_a_mount_a_process_can_write_no_more(tmp_path: Path) -> None:
    import subprocess

    write = f"input(); open({str(tmp_path / 'file')!r}, 'wb', buffering=0).write(bytes(10)) == 10 or open('/', 'w')"
    child = subprocess.Popen([sys.executable, "-c", write], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    Disk(tmp_path, mounted=False).fill([child.pid])
    _, said = child.communicate(b"\n")
    assert child.returncode == 1
    assert said
