"""The same tensors and metadata are the same bytes, which safetensors reads."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open

from fedcrucible_core.records.tensor_bytes import tensor_bytes


def test_bytes_are_the_same_each_time_and_read_back(tmp_path: Path) -> None:
    tensors = {"b": torch.arange(6.0).view(2, 3), "a": torch.ones(3, dtype=torch.int64), "none": torch.zeros(0)}
    said = {name: f'{name} "é" \\' for name in ("pixels", "format", "mean", "std", "sha256")}
    once = tensor_bytes(tensors, said)
    backwards = dict(reversed(said.items()))
    assert all(tensor_bytes(tensors, backwards) == once for _ in range(20))
    (tmp_path / "x.safetensors").write_bytes(once)
    with safe_open(tmp_path / "x.safetensors", "pt") as file:
        assert file.metadata() == said
        assert all(torch.equal(file.get_tensor(name), tensor) for name, tensor in tensors.items())
    assert int.from_bytes(once[:8], "little") % 8 == 0, "tensors begin at a multiple of eight bytes"
