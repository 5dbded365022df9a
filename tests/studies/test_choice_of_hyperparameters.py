"""Hyper-parameters are chosen on validation images, and no image plays two parts."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from fedcrucible.comparison.plan.cell import Cell
from fedcrucible_assets import asset_path
from studies import tradeoff


def test_the_parts_of_fashion_mnist_are_disjoint() -> None:
    with np.load(asset_path("data/fashion_mnist_splits.npz")) as file:
        parts = {name: file[name] for name in file.files}
    assert {"public_indices", "val_indices", "train_indices"} <= set(parts)
    for (a, first), (b, second) in itertools.combinations(parts.items(), 2):
        assert not np.intersect1d(first, second).size, f"{a} and {b} share images"
    assert all(len(np.unique(part)) == len(part) for part in parts.values())


def test_the_server_phase_was_chosen_on_the_validation_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Cell] = []

    def stop(cells: list[Cell], folder: Path, jobs: int) -> None:
        seen.extend(cells)
        raise SystemExit

    monkeypatch.setattr(tradeoff, "sweep", stop)
    monkeypatch.setattr("sys.argv", ["tradeoff", "--out", str(tmp_path)])
    with pytest.raises(SystemExit):
        tradeoff.main()
    assert len(seen) >= 5
    assert {cell.settings["task.eval_split"] for cell in seen} == {"validation"}
