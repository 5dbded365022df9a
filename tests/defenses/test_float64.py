"""Every rule keeps the type of its updates: models of float64 lose no digits."""

from __future__ import annotations

import pytest
import torch

from defenses.base import RULES
from defenses.updates import ClientUpdates, ServerView


@pytest.mark.parametrize("name", list(RULES))
def test_updates_of_float64_give_an_aggregate_of_float64(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    common = torch.randn(50, generator=generator, dtype=torch.float64)
    matrix = common + 0.1 * torch.randn(9, 50, generator=generator, dtype=torch.float64)
    found = []
    for kind in (torch.float32, torch.float64):
        view = ServerView(train_root=lambda _, kind=kind: common.to(kind))  # type: ignore[misc]
        examples, rng = torch.ones(9, dtype=torch.float64), torch.Generator().manual_seed(0)
        updates = ClientUpdates(torch.zeros(50, dtype=kind), matrix.to(kind), examples, range(9), 1, rng, {}, view)
        found.append(RULES[name]().aggregate(updates))
    single, double = found
    assert (single.delta.dtype, double.delta.dtype) == (torch.float32, torch.float64)
    assert torch.equal(single.weights > 0, double.weights > 0)
    torch.testing.assert_close(single.delta.double(), double.delta, rtol=0, atol=1e-5)
