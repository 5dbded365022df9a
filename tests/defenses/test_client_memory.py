"""What is remembered of a client follows its id, whoever else takes part."""

from __future__ import annotations

import torch
from safetensors.torch import load, save

from defenses.support.client_memory import id_order, recall, remember


def test_rows_follow_ids_whatever_their_place() -> None:
    fresh = torch.tensor([-1.0, -1.0])
    state = remember({}, "seen", [30, 10], torch.tensor([[3.0, 3.5], [1.0, 1.5]]))
    assert state["ids"].tolist() == [10, 30]
    assert recall(state, "seen", [10, 20, 30], fresh).tolist() == [[1.0, 1.5], [-1.0, -1.0], [3.0, 3.5]]
    state = remember(state, "seen", [20, 10], torch.tensor([[2.0, 2.5], [9.0, 9.5]]))
    assert state["ids"].tolist() == [10, 20, 30]
    assert state["seen"].tolist() == [[9.0, 9.5], [2.0, 2.5], [3.0, 3.5]]


def test_single_numbers_are_remembered_too() -> None:
    fresh = torch.tensor(0.5, dtype=torch.float64)
    state = remember({}, "score", [7], torch.tensor([0.25], dtype=torch.float64))
    assert recall(state, "score", [8, 7], fresh).tolist() == [0.5, 0.25]


def test_what_is_recalled_is_a_copy() -> None:
    state = remember({}, "seen", [1], torch.ones(1, 2))
    recall(state, "seen", [1], torch.zeros(2)).fill_(5.0)
    assert state["seen"].tolist() == [[1.0, 1.0]]


def test_memory_survives_being_written_and_read() -> None:
    state = remember({}, "seen", [5, 2, 9], torch.rand(3, 4, generator=torch.Generator().manual_seed(0)))
    again = load(save(state))
    assert all(torch.equal(state[name], again[name]) for name in state)


def test_order_by_id() -> None:
    assert id_order([30, 10, 20]).tolist() == [1, 2, 0]
