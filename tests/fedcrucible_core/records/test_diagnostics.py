"""Diagnostics of rounds beside a record's lines: written, read back, forgotten with the rounds, refused if damaged."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fedcrucible_core.records import files
from fedcrucible_core.records.checkpoint import Checkpoint, rounds_of, write_checkpoint
from fedcrucible_core.records.diagnostics import read_diagnostics, write_diagnostics
from fedcrucible_core.records.reader import DamagedRecordError
from fedcrucible_core.records.schema import RoundRecord, RunDescription
from fedcrucible_core.records.writer import RunRecord


def found(value: float) -> dict[str, dict[str, torch.Tensor]]:
    return {"": {"norms": torch.tensor([value, 0.1 + 0.2], dtype=torch.float64)}, "a/b": {"ids": torch.tensor([3])}}


def test_what_was_written_is_read_bit_for_bit(tmp_path: Path) -> None:
    write_diagnostics(tmp_path, 12, found(1.0))
    write_diagnostics(tmp_path, 2, found(2.0))
    (tmp_path / "round-x.safetensors").touch()
    back = read_diagnostics(tmp_path)
    assert list(back) == [2, 12]
    assert torch.equal(back[12][""]["norms"], found(1.0)[""]["norms"])
    assert back[2]["a/b"]["ids"].tolist() == [3]
    assert read_diagnostics(tmp_path / "nowhere") == {}


@pytest.mark.parametrize("content", [b"", b"nothing", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "])
def test_damage_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "round-0000001.safetensors").write_bytes(content)
    with pytest.raises(DamagedRecordError, match=r"round-0000001\.safetensors is damaged"):
        read_diagnostics(tmp_path)


def test_rounds_that_are_forgotten_take_theirs_along(tmp_path: Path) -> None:
    record = RunRecord(tmp_path)
    record.write_run(RunDescription(strategy="s", attack="a", seed=1))
    for number in range(4):
        record.append_round(RoundRecord(round=number))
        record.write_diagnostics(number, found(1.0))
    record.rewind(2)
    assert list(read_diagnostics(tmp_path / files.DIAGNOSTICS)) == [0, 1, 2]


@pytest.mark.parametrize(("keep", "left"), [(0, [1, 2, 3, 4]), (1, [4]), (2, [3, 4]), (9, [1, 2, 3, 4])])
def test_as_many_checkpoints_as_asked_for_are_kept(tmp_path: Path, keep: int, left: list[int]) -> None:
    for number in range(1, 5):
        write_checkpoint(tmp_path, Checkpoint(number, {}, {}), keep=keep)
    assert rounds_of(tmp_path) == left
