from __future__ import annotations

from pathlib import Path

import pytest
import torch

from server_app.record import files
from server_app.record.checkpoint import latest_checkpoint, read_checkpoint, write_checkpoint


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""


def test_round_trip_is_bit_identical(tmp_path: Path) -> None:
    parameters = torch.tensor([1.0, -0.0, 1e-45, float("inf"), float("nan"), 1 / 3])
    state = {
        "rule": {
            "history/of weird.names": torch.randn(3, 4, dtype=torch.float64),
            "count": torch.tensor(2**53 + 1),
            "mask": torch.tensor([True, False]),
            "half": torch.randn(5).to(torch.bfloat16),
            "view": torch.arange(12.0).view(3, 4).t(),
            "none": torch.zeros(0),
        },
        "purifier": {},
    }
    path = write_checkpoint(tmp_path, 7, parameters, torch.zeros(0), state)
    found = read_checkpoint(path)
    assert found.round == 7
    assert bits(found.parameters) == bits(parameters)
    assert found.buffers.shape == (0,)
    assert found.state.keys() == state.keys()
    assert found.state["purifier"] == {}
    for name, tensor in state["rule"].items():
        stored = found.state["rule"][name]
        assert (stored.dtype, stored.shape) == (tensor.dtype, tensor.shape)
        assert bits(stored.reshape(-1)) == bits(tensor.reshape(-1))


def test_the_newest_two_are_kept_and_a_damaged_one_is_passed_over(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path) is None
    for number in (1, 2, 10, 3, 11):
        last = write_checkpoint(tmp_path, number, torch.full((2,), float(number)), torch.zeros(1), {})
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["round-0000010.safetensors", "round-0000011.safetensors"]
    last.write_bytes(last.read_bytes()[:-5])
    found = latest_checkpoint(tmp_path)
    assert found is not None
    assert found.round == 10


def test_a_crash_while_writing_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_checkpoint(tmp_path, 1, torch.ones(2), torch.zeros(1), {})

    def crash(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", crash)
    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(tmp_path, 2, torch.ones(2), torch.zeros(1), {})
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["round-0000001.safetensors"]
    found = latest_checkpoint(tmp_path)
    assert found is not None
    assert found.round == 1
