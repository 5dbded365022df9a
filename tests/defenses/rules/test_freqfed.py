"""FreqFed: the transform, what low frequencies see and what they don't."""

from __future__ import annotations

import pytest
import torch

from defenses.base import Aggregate, ClientUpdates
from defenses.contracts.setting import D, tiny_start, tiny_view
from defenses.kernels.geometry import gram
from defenses.rules import freqfed
from defenses.rules.flame import Flame
from defenses.rules.freqfed import FreqFed, low_frequencies, low_frequency_inner


def seen(updates: torch.Tensor, w_t: torch.Tensor | None = None, examples: torch.Tensor | None = None) -> ClientUpdates:
    n, d = updates.shape
    start = torch.zeros(d) if w_t is None else w_t
    counts = torch.ones(n, dtype=torch.float64) if examples is None else examples
    view = {"server": tiny_view(start, n)} if d == D else {}
    return ClientUpdates(start, updates, counts, range(n), 1, torch.Generator(), **view)  # type: ignore[arg-type]


def accepted(result: Aggregate) -> list[bool]:
    return (result.weights > 0).tolist()


def test_the_transform_is_orthonormal() -> None:
    rows = torch.tensor([[1.0, 1.0, 1.0, 1.0], [1.0, -1.0, 1.0, -1.0]])
    whole = low_frequencies(rows, slice(0, 4))
    assert whole[0].tolist() == pytest.approx([2.0, 0.0, 0.0, 0.0], abs=1e-6)
    assert whole.norm(dim=1).tolist() == pytest.approx([2.0, 2.0])
    assert whole[1].abs().argmax() == 3
    assert torch.equal(low_frequencies(rows, slice(1, 3)), whole[:, 1:3])


@pytest.mark.parametrize("of_models", [False, True])
def test_all_frequencies_are_the_models_themselves(of_models: bool) -> None:
    updates = 0.1 * torch.randn(5, D, generator=torch.Generator().manual_seed(0))
    w_t = tiny_start()
    inner = low_frequency_inner(seen(updates, w_t), 1.0, of_models=of_models)
    torch.testing.assert_close(inner, gram(updates, offset=w_t if of_models else None), rtol=1e-5, atol=1e-5)


def test_bands_and_groups_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    updates, w_t = torch.randn(7, 501, generator=torch.Generator().manual_seed(1)), torch.ones(501)
    whole = low_frequency_inner(seen(updates, w_t), 0.5, of_models=True)
    for held, together in ((0.01, 2), (0.06, 10**6), (1.0, 1200)):
        monkeypatch.setattr(freqfed, "HELD", held)
        monkeypatch.setattr(freqfed, "TOGETHER", together)
        part = low_frequency_inner(seen(updates, w_t), 0.5, of_models=True)
        torch.testing.assert_close(part, whole, rtol=1e-9, atol=1e-9)


def test_keeping_all_frequencies_is_flames_clustering() -> None:
    for seed in range(10):
        updates = 0.1 * torch.randn(9, D, generator=torch.Generator().manual_seed(seed))
        updates[6:] += 0.3
        here = seen(updates, tiny_start())
        everything = FreqFed(low_share=1.0).aggregate(here)
        assert accepted(everything) == accepted(Flame(noise=0.0).aggregate(here))


def test_high_frequencies_are_not_looked_at() -> None:
    g = torch.Generator().manual_seed(3)
    slow = torch.cos(torch.pi * 3 * (2 * torch.arange(64) + 1) / 128)
    fast = torch.cos(torch.pi * 60 * (2 * torch.arange(64) + 1) / 128)
    updates = slow + 0.01 * torch.randn(9, 64, generator=g)
    loud = updates.clone()
    loud[6:] += 5.0 * fast
    rule = FreqFed(cosine_on="updates")
    scores = rule.aggregate(seen(loud)).per_client["score"]
    assert scores == pytest.approx(rule.aggregate(seen(updates)).per_client["score"], abs=1e-4)
    other = updates.clone()
    other[6:] += 5.0 * torch.cos(torch.pi * 5 * (2 * torch.arange(64) + 1) / 128)
    kept = accepted(rule.aggregate(seen(other)))
    assert sum(kept[:6]) >= 5
    assert not any(kept[6:])


def test_each_layer_is_transformed_by_itself() -> None:
    """Alternating within each layer is high frequency; across the whole vector the layers' edges would show."""
    updates = 0.1 * torch.randn(6, D, generator=torch.Generator().manual_seed(4))
    here = seen(updates)
    direct = torch.zeros(6, 6, dtype=torch.float64)
    for layer in here.layers:
        low = low_frequencies(updates[:, layer], slice(0, -(-(layer.stop - layer.start) // 2))).double()
        direct += low @ low.T
    torch.testing.assert_close(low_frequency_inner(here, 0.5, of_models=False), direct, rtol=1e-6, atol=1e-9)
    nameless = ClientUpdates(torch.zeros(D), updates, torch.ones(6), range(6), 1, torch.Generator())
    assert float((low_frequency_inner(nameless, 0.5, of_models=False) - direct).abs().max()) > 1e-3


def test_near_identical_models_are_told_apart() -> None:
    """||w|| = 50 and updates of length 0.01: float32 coefficients of whole models would be all alike."""
    d, g = 4000, torch.Generator().manual_seed(0)
    w_t = torch.randn(d, generator=g)
    w_t *= 50 / w_t.norm()
    which = torch.tensor([0, 1, 0, 0, 1, 0, 0, 1, 0, 1])
    updates = torch.randn(2, d, generator=g)[which] + 0.2 * torch.randn(10, d, generator=g)
    updates *= 0.01 / updates.norm(dim=1, keepdim=True)
    assert accepted(FreqFed().aggregate(seen(updates, w_t))) == (which == 0).tolist()


def test_accepted_clients_weigh_by_their_examples() -> None:
    updates = torch.tensor([[1.0, 1.0], [1.0, 1.1], [1.0, 0.9], [-1.0, 1.0]])
    result = FreqFed(cosine_on="updates", low_share=1.0).aggregate(
        seen(updates, examples=torch.tensor([1.0, 2.0, 1.0, 99.0]).double())
    )
    assert result.weights.tolist() == pytest.approx([0.25, 0.5, 0.25, 0.0])
    capped = FreqFed(max_weight=0.4).aggregate(seen(torch.ones(3, 2), examples=torch.tensor([1.0, 1.0, 98.0]).double()))
    assert capped.weights.tolist() == pytest.approx([0.3, 0.3, 0.4])


def test_both_clusterings_agree() -> None:
    for seed in range(20):
        updates = 0.1 * torch.randn(11, D, generator=torch.Generator().manual_seed(seed))
        updates[8:] += 0.2
        here = seen(updates, tiny_start(seed))
        assert accepted(FreqFed().aggregate(here)) == accepted(FreqFed(method="hdbscan").aggregate(here))


def test_one_enormous_row_does_not_overflow() -> None:
    updates = torch.randn(6, 300, generator=torch.Generator().manual_seed(0)) * 0.1 + 1
    updates[2] = 3e38 * torch.sign(torch.randn(300, generator=torch.Generator().manual_seed(1)))
    result = FreqFed().aggregate(seen(updates, torch.ones(300)))
    assert not accepted(result)[2]
    assert sum(accepted(result)) >= 4
    assert bool(torch.isfinite(result.delta).all())
