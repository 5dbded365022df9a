"""Rewinding forgets what came after a checkpoint and nothing else; a damaged record is not touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedcrucible_core.records import files
from fedcrucible_core.records.reader import DamagedRecordError, read, read_rounds
from fedcrucible_core.records.schema import RoundRecord, RunDescription
from fedcrucible_core.records.writer import RunRecord


@pytest.fixture
def record(tmp_path: Path) -> RunRecord:
    record = RunRecord(tmp_path)
    record.write_run(RunDescription(strategy="s", seed=1))
    for number in range(4):
        record.append_round(RoundRecord(round=number, ma_percent=10.0 + number))
    record.append_round(RoundRecord(round=4, stage="repair"))
    record.write_summary()
    return record


def metrics(record: RunRecord) -> Path:
    return record.folder / files.METRICS


def test_kept_lines_stay_byte_for_byte(record: RunRecord) -> None:
    path = metrics(record)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b'{"round":1', b'{"from_another_version": 1,  "round":1')
    path.write_bytes(b"".join(lines))
    record.rewind(2)
    assert path.read_bytes() == b"".join(lines[:3])
    assert not (record.folder / files.SUMMARY).exists()


def test_a_repair_after_the_last_round_is_forgotten(record: RunRecord) -> None:
    record.rewind(3)
    assert [(r.round, r.stage) for r in record.rounds()] == [(i, "training") for i in range(4)]


def test_all_is_forgotten(record: RunRecord) -> None:
    record.rewind(-1)
    assert record.rounds() == []


def test_damage_behind_the_checkpoint_is_run_again(record: RunRecord) -> None:
    with metrics(record).open("ab") as stream:
        stream.write(b"\xff\xfe damaged\n")
    record.rewind(2)
    assert len(record.rounds()) == 3


@pytest.mark.parametrize("damage", ["line", "missing", "twice", "order", "file"])
def test_damage_before_it_is_an_error_and_nothing_is_written(record: RunRecord, damage: str) -> None:
    path = metrics(record)
    lines = path.read_bytes().splitlines(keepends=True)
    damaged = {
        "line": [lines[0], b'{"round": \x1b[31m}\n', *lines[2:]],
        "missing": [lines[0], *lines[2:]],
        "twice": [lines[0], lines[1], lines[1], *lines[2:]],
        "order": [lines[1], lines[0], *lines[2:]],
        "file": [],
    }[damage]
    path.write_bytes(b"".join(damaged))
    before = path.read_bytes()
    with pytest.raises(DamagedRecordError, match=r"metrics\.jsonl") as caught:
        record.rewind(2)
    assert "\n" not in str(caught.value)
    assert "pydantic" not in str(caught.value)
    assert path.read_bytes() == before
    assert (record.folder / files.SUMMARY).exists()


@pytest.mark.parametrize("name", [files.RUN, files.SUMMARY, files.CONFIG, files.ENVIRONMENT, files.EXAMPLES])
def test_a_damaged_file_is_named_in_one_line(record: RunRecord, name: str) -> None:
    (record.folder / name).write_bytes(b'{"round": [')
    with pytest.raises(DamagedRecordError, match=f"{name} is damaged") as caught:
        read(record.folder)
    assert "\n" not in str(caught.value)
    assert "pydantic" not in str(caught.value)


def test_a_damaged_line_is_named_by_its_number(record: RunRecord) -> None:
    path = metrics(record)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], b'{"round": -3}\n', *lines[2:]]))
    with pytest.raises(DamagedRecordError, match="line 2 is damaged: round: ") as caught:
        read_rounds(path)
    assert "\n" not in str(caught.value)
