from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from fedcrucible_core.learning.weights import SOLE, Weights
from fedcrucible_core.records.checkpoint import (
    Checkpoint,
    DamagedCheckpointError,
    forget_after,
    latest_checkpoint,
    read_checkpoint,
    write_checkpoint,
)


def simple(number: int) -> Checkpoint:
    return Checkpoint(number, {SOLE: Weights(torch.full((2,), float(number)), torch.zeros(1))}, {}, "me", 1.5)


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
    path = write_checkpoint(tmp_path, Checkpoint(7, {SOLE: Weights(parameters, torch.zeros(0))}, state, "me", 12.25))
    found = read_checkpoint(path)
    assert (found.round, found.identity, found.seconds) == (7, "me", 12.25)
    assert bits(found.population[SOLE].parameters) == bits(parameters)
    assert found.population[SOLE].buffers.shape == (0,)
    assert found.state.keys() == state.keys()
    assert found.state["purifier"] == {}
    for name, tensor in state["rule"].items():
        stored = found.state["rule"][name]
        assert (stored.dtype, stored.shape) == (tensor.dtype, tensor.shape)
        assert bits(stored.reshape(-1)) == bits(tensor.reshape(-1))


def test_the_newest_two_are_kept_and_a_damaged_one_is_passed_over(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path) is None
    for number in (1, 2, 10, 3, 11):
        last = write_checkpoint(tmp_path, simple(number))
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["round-0000010.safetensors", "round-0000011.safetensors"]
    last.write_bytes(last.read_bytes()[:-5])
    told: list[str] = []
    found = latest_checkpoint(tmp_path, told.append)
    assert found is not None
    assert found.round == 10
    assert len(told) == 1
    assert "round-0000011.safetensors is damaged" in told[0]


def test_a_crash_while_writing_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_checkpoint(tmp_path, simple(1))

    def crash(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", crash)
    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(tmp_path, simple(2))
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["round-0000001.safetensors"]
    found = latest_checkpoint(tmp_path)
    assert found is not None
    assert found.round == 1


def rewritten(path: Path, **metadata: str | None) -> None:
    """The same tensors with other metadata; None leaves a key out."""
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as stored:
        facts = stored.metadata()
    tensors = load_file(path)
    save_file(tensors, path, {key: value for key, value in {**facts, **metadata}.items() if value is not None})


@pytest.mark.parametrize(
    "metadata",
    [
        {"sha256": None},
        {"round": "8"},
        {"identity": "somebody else"},
        {"state": json.dumps([1, 2])},
        {"state": json.dumps({"rule": [1]})},
        {"seconds": "soon"},
        {"round": None, "state": None, "sha256": None, "identity": None, "seconds": None},
    ],
)
def test_a_checkpoint_with_other_metadata_is_passed_over(tmp_path: Path, metadata: dict[str, str | None]) -> None:
    write_checkpoint(tmp_path, simple(1))
    rewritten(write_checkpoint(tmp_path, simple(2)), **metadata)
    found = latest_checkpoint(tmp_path)
    assert found is not None
    assert found.round == 1


@pytest.mark.parametrize("facts", [{}, {"round": "1"}, {"state": "[]"}, {"state": "null", "round": "x"}])
def test_metadata_that_fits_its_checksum_but_says_too_little(tmp_path: Path, facts: dict[str, str]) -> None:
    from fedcrucible_core.records.checkpoint import _checksum

    tensors = {"parameters": torch.zeros(2), "buffers": torch.zeros(0)}
    save_file(tensors, tmp_path / "round-0000001.safetensors", {**facts, "sha256": _checksum(facts, tensors)})
    with pytest.raises(DamagedCheckpointError, match="incomplete"):
        read_checkpoint(tmp_path / "round-0000001.safetensors")


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    weights = Weights(torch.randn(5), torch.randn(2))
    content = Checkpoint(1, {SOLE: weights}, {"rule": {"h": torch.arange(4)}}, "me", 2.0)
    path = write_checkpoint(tmp_path, content)
    whole = path.read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            found = read_checkpoint(path)
        except DamagedCheckpointError:
            continue
        # Only bytes that mean nothing (padding, the order of keys) may change unnoticed.
        assert found.round == 1
        assert bits(found.population[SOLE].parameters) == bits(content.population[SOLE].parameters)
        assert bits(found.population[SOLE].buffers) == bits(content.population[SOLE].buffers)
        assert torch.equal(found.state["rule"]["h"], torch.arange(4))


def test_what_is_no_file_of_ours_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "round-0000009.safetensors").mkdir()
    (tmp_path / "round-0000008.safetensors").write_bytes(b"")
    (tmp_path / "round-0000007.safetensors").write_bytes(b"\xff" * 100)
    write_checkpoint(tmp_path, simple(1), keep=9)
    found = latest_checkpoint(tmp_path)
    assert found is not None
    assert found.round == 1


def test_later_checkpoints_are_forgotten(tmp_path: Path) -> None:
    for number in (3, 10, 12):
        write_checkpoint(tmp_path, simple(number), keep=9)
    forget_after(tmp_path, 10)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["round-0000003.safetensors", "round-0000010.safetensors"]


def test_bounds_are_kept_by_prototype(tmp_path: Path) -> None:
    bounds = {"features.3": torch.tensor([0.5, 1.5]), "features.3.norm1": torch.zeros(0)}
    population = {
        "one": Weights(torch.randn(5), torch.randn(2), bounds), "two": Weights(torch.randn(5), torch.randn(2)),
    }  # fmt: skip
    found = read_checkpoint(write_checkpoint(tmp_path, Checkpoint(1, population, {}))).population
    assert all(found[name].equals(weights) for name, weights in population.items())
    assert list(found["two"].bounds) == []
