"""FLTrust: a worked number, and the ways in which public code turns it into something else."""

from __future__ import annotations

from typing import Literal

import pytest
import torch

from defenses.base import Aggregate, ClientUpdates
from defenses.rules.fedavg import FedAvg
from defenses.rules.fltrust import FLTrust
from defenses.updates import ServerView


def fltrust(updates: torch.Tensor, root: torch.Tensor, w_t: torch.Tensor | None = None) -> Aggregate:
    n, d = updates.shape
    start = torch.zeros(d) if w_t is None else w_t
    view = ServerView(train_root=lambda _: root)
    return FLTrust().aggregate(
        ClientUpdates(start, updates, torch.ones(n), range(n), 1, torch.Generator(), server=view)
    )


ROOT = torch.tensor([3.0, 4.0])
CLIENTS = torch.tensor([[6.0, 8.0], [4.0, -3.0], [-3.0, -4.0], [5.0, 0.0]])


def test_the_worked_number() -> None:
    result = fltrust(CLIENTS, ROOT)
    assert result.per_client["trust"] == pytest.approx([1.0, 0.0, 0.0, 0.6], abs=1e-15)
    assert result.delta.tolist() == pytest.approx([3.75, 2.5])
    assert result.weights.tolist() == pytest.approx([1 / 1.6, 0, 0, 0.6 / 1.6])
    assert result.facts == {"root_norm": 5.0, "trusted": 2.0}


def test_it_is_not_fedavg() -> None:
    """Public code that never hands over the root update averages in silence."""
    delta = fltrust(CLIENTS, ROOT).delta
    assert float((delta - FedAvg()(CLIENTS).delta).norm()) > 1.0


def test_without_a_root_set_it_says_so() -> None:
    with pytest.raises(ValueError, match="fltrust needs a root set"):
        FLTrust()(CLIENTS)


def test_nobody_trusted_keeps_the_model() -> None:
    """Uniform weights instead would let attackers in exactly when everybody is suspicious."""
    result = fltrust(-CLIENTS[:1].repeat(3, 1), ROOT)
    assert result.delta.tolist() == [0.0, 0.0]
    assert result.weights.tolist() == [0.0, 0.0, 0.0]
    assert fltrust(CLIENTS, torch.zeros(2)).delta.tolist() == [0.0, 0.0]


def test_directions_are_those_of_updates_not_of_models() -> None:
    """Whole models of clients 1 and 3 would be parallel to anything near the global model."""
    w_t = torch.tensor([300.0, 400.0])
    assert torch.equal(fltrust(CLIENTS, ROOT, w_t).delta, fltrust(CLIENTS, ROOT).delta)


def test_no_client_can_shout() -> None:
    loud = CLIENTS * torch.tensor([[1e6], [1.0], [1.0], [1e-6]])
    torch.testing.assert_close(fltrust(loud, ROOT).delta, fltrust(CLIENTS, ROOT).delta)
    g = torch.Generator().manual_seed(0)
    for _ in range(50):
        root = torch.randn(9, generator=g)
        delta = fltrust(torch.randn(6, 9, generator=g) * 100, root).delta
        assert float(delta.norm()) <= float(root.norm()) * (1 + 1e-6)


def test_identical_clients_are_rescaled_to_the_root_update() -> None:
    delta = fltrust(torch.tensor([[0.0, 2.0]]).repeat(5, 1), ROOT).delta
    assert delta.tolist() == pytest.approx([0.0, 5.0])


def test_zero_updates_earn_no_trust() -> None:
    result = fltrust(torch.tensor([[0.0, 0.0], [6.0, 8.0]]), ROOT)
    assert result.weights.tolist() == [0.0, 1.0]
    assert result.delta.tolist() == pytest.approx([3.0, 4.0])


@pytest.mark.parametrize(("root", "match"), [([float("nan"), 1.0], "diverged"), ([1.0, 2.0, 3.0], "shape")])
def test_a_useless_root_update_is_an_error(root: list[float], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        fltrust(CLIENTS, torch.tensor(root))


def test_attackers_against_the_root_direction_are_out() -> None:
    g = torch.Generator().manual_seed(1)
    root = torch.randn(500, generator=g)
    updates = root + 2.0 * torch.randn(10, 500, generator=g)
    updates[7:] -= 2.0 * root
    assert (fltrust(updates, root).weights > 0).tolist() == [True] * 7 + [False] * 3


@pytest.mark.parametrize(("root_training", "asked"), [("steps", 40), ("epochs", 0)])
def test_the_server_trains_like_the_median_client(root_training: Literal["steps", "epochs"], asked: int) -> None:
    """One client's boastful claim of examples changes nothing."""
    seen: list[int] = []

    def train(like: int) -> torch.Tensor:
        seen.append(like)
        return ROOT

    examples = torch.tensor([10.0, 40.0, 40.0, 1e6])
    view = ServerView(train_root=train)
    FLTrust(root_training=root_training).aggregate(
        ClientUpdates(torch.zeros(2), CLIENTS, examples, range(4), 1, torch.Generator(), server=view)
    )
    assert seen == [asked]
