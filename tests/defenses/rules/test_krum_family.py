"""Worked numbers and traps of Krum, Multi-Krum and Bulyan."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from defenses.base import RULES, Aggregate, AggregationRule, ClientUpdates
from defenses.rules.bulyan import Bulyan
from defenses.rules.krum import Krum
from defenses.rules.multi_krum import MultiKrum
from defenses.support.krum_selection import Neighbourhood
from defenses.updates import ServerView
from fedcrucible_core.config import ConfigError
from tests.references import distance_references as slow

FIVE = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [10.0, 10.0]])


def normal(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def stretched(n: int, d: int, seed: int) -> torch.Tensor:
    """Rows of very different lengths expose unsquared distances and wrong neighbour counts at once."""
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=g) * 3.0 * torch.rand(n, 1, generator=g)


def chosen(result: Aggregate) -> list[int]:
    return result.weights.nonzero().flatten().tolist()


def aggregate(
    rule: AggregationRule, updates: torch.Tensor, *, assumed: int = -1, ids: list[int] | None = None
) -> Aggregate:
    n, d = updates.shape
    view = ServerView(assumed_malicious=assumed)
    numbers = range(n) if ids is None else ids
    return rule.aggregate(
        ClientUpdates(torch.zeros(d), updates, torch.ones(n), numbers, 1, torch.Generator(), server=view)
    )


def test_scores_of_the_worked_example() -> None:
    result = Krum(f=1)(FIVE)
    assert result.per_client["score"] == pytest.approx([2, 2, 2, 2, 343])
    assert chosen(result) == [0]  # four equal scores: the lowest client
    assert result.delta.tolist() == [0.0, 0.0]
    assert result.facts == {"f": 1.0, "winner": 0.0}


def test_ties_go_to_the_lowest_client_id_wherever_its_row_is() -> None:
    result = aggregate(Krum(f=1), FIVE, ids=[9, 5, 7, 2, 1])
    assert chosen(result) == [3]
    assert result.facts["winner"] == 2.0


def test_rounding_breaks_no_ties() -> None:
    """Rotations of one row are equally far from each other; their sums of squares come out unlike in the last bit."""
    for seed in range(20):
        one = normal(1, 7 * 31, seed)[0]
        updates = torch.stack([one.roll(31 * i) for i in range(7)])
        assert chosen(Krum(f=1)(updates)) == [0], seed
        assert chosen(MultiKrum(f=1, m=3)(updates)) == [0, 1, 2], seed
        assert 0 in chosen(MultiKrum(f=1, m=1, iterative=True)(updates)), seed


def test_krum_is_the_papers_in_500_of_500_draws() -> None:
    """Public code misses up to 116 of them by n - f - 1 neighbours, unsquared or twice squared distances."""
    for seed in range(500):
        updates = stretched(10, 5, seed)
        result = Krum(f=2)(updates)
        scores = slow.krum_scores(updates.double().numpy(), 2)
        assert chosen(result) == [int(np.argmin(scores))], seed
        assert result.per_client["score"] == pytest.approx(scores, rel=1e-9)


@pytest.mark.parametrize(("n", "f", "m"), [(10, 2, 0), (10, 2, 3), (9, 3, 0), (15, 1, 1), (4, 0, 0)])
@pytest.mark.parametrize("iterative", [False, True])
def test_multi_krum_averages_the_m_lowest(n: int, f: int, m: int, iterative: bool) -> None:
    for seed in range(50):
        updates = stretched(n, 5, seed)
        points = updates.double().numpy()
        many = m or n - f
        if iterative:
            expected = slow.repeated_krum(points, f, many)
        else:
            expected = np.argsort(slow.krum_scores(points, f), kind="stable")[:many].tolist()
        result = MultiKrum(f=f, m=m, iterative=iterative)(updates)
        assert chosen(result) == sorted(expected), seed
        torch.testing.assert_close(result.delta, updates[sorted(expected)].mean(0))
        assert result.facts["accepted"] == many


def test_choosing_once_and_again_and_again_differ() -> None:
    differ = sum(
        chosen(MultiKrum(f=2, m=5)(stretched(10, 5, seed)))
        != chosen(MultiKrum(f=2, m=5, iterative=True)(stretched(10, 5, seed)))
        for seed in range(50)
    )
    assert differ > 10


def test_multi_krum_rejects_longer_updates_of_a_large_model() -> None:
    """||W|| = 50, ||u|| = 0.01: Flower's float32 Gram matrix of whole weights keeps three of the four attackers."""
    d = 100_000
    w_t = normal(1, d, 1)[0]
    w_t *= 50 / w_t.norm()
    updates = normal(20, d, 2)
    updates *= 0.01 / updates.norm(dim=1, keepdim=True)
    updates[16:] *= 3
    models = w_t + updates  # what the clients sent, rounded to float32
    seen = models - w_t
    result = aggregate(MultiKrum(f=4), seen)
    assert chosen(result) == list(range(16))
    exact = slow.krum_scores((models.double() - w_t.double()).numpy(), 4)
    assert result.per_client["score"] == pytest.approx(exact, rel=1e-5)


def test_bulyan_follows_the_definition_and_selects_nobody_twice() -> None:
    for seed in range(200):
        updates = stretched(11, 7, seed)
        points = updates.double().numpy()
        expected = slow.repeated_krum(points, 2, 7)
        result = Bulyan(f=2)(updates)
        assert chosen(result) == sorted(expected), seed
        assert len(set(expected)) == 7
        assert result.weights[expected].tolist() == pytest.approx([1 / 7] * 7)
        np.testing.assert_allclose(result.delta.numpy(), slow.bulyan_mean(points[expected], 3), rtol=1e-5, atol=1e-6)


def test_bulyan_is_not_the_theta_best_of_one_scoring() -> None:
    differ = 0
    for seed in range(200):
        points = stretched(11, 5, seed).double().numpy()
        once = np.argsort(slow.krum_scores(points, 2), kind="stable")[:7].tolist()
        differ += sorted(once) != sorted(slow.repeated_krum(points, 2, 7))
    assert differ > 100


@pytest.mark.parametrize(("n", "f"), [(7, 1), (8, 1), (15, 3), (19, 4), (23, 5)])
def test_bulyan_at_the_limit_of_attackers(n: int, f: int) -> None:
    for seed in range(10):
        updates = stretched(n, 6, seed)
        points = updates.double().numpy()
        expected = slow.repeated_krum(points, f, n - 2 * f)
        result = Bulyan(f=f)(updates)
        assert chosen(result) == sorted(expected)
        assert result.facts["beta"] == n - 4 * f
        mean = slow.bulyan_mean(points[expected], n - 4 * f)
        np.testing.assert_allclose(result.delta.numpy(), mean, rtol=1e-5, atol=1e-6)


def test_bulyans_last_choice_at_one_attacker() -> None:
    """n = 7, f = 1: neighbours 4, 3, 2, 1 and, where n - f - 2 is 0, the nearest one.

    Chosen: 3 (71), 6 (77), 1 (82), 10 (25, as 15), then of 0, 15, 40 by the nearest: 225, 225, 625.
    """
    line = torch.tensor([[0.0], [1.0], [3.0], [6.0], [10.0], [15.0], [40.0]])
    near = Neighbourhood.of(ClientUpdates.bare(line))
    assert near.repeatedly(1, 5) == [2, 3, 1, 4, 0]
    result = aggregate(Bulyan(f=1), line)
    assert chosen(result) == [0, 1, 2, 3, 4]
    assert result.facts == {"f": 1.0, "accepted": 5.0, "beta": 3.0}
    assert result.delta.item() == pytest.approx((0 + 1 + 3) / 3)  # median 3; 0 and 6 are as far, the lower counts
    turned = aggregate(Bulyan(f=1), line, ids=[6, 5, 4, 3, 2, 1, 0])  # of equal scores the other one is the lower id
    assert chosen(turned) == [1, 2, 3, 4, 5]
    assert turned.delta.item() == pytest.approx((3 + 6 + 10) / 3)


def test_bulyans_last_choice_never_takes_the_one_far_from_both_others() -> None:
    """By no neighbours at all the lowest id would be taken, wherever its update is."""
    for seed in range(30):
        updates = normal(7, 5, seed)
        updates[0] += 100.0
        assert 0 not in chosen(Bulyan(f=1)(updates)), seed


@pytest.mark.parametrize(("n", "f"), [(3, 0), (4, 0), (7, 1), (8, 1), (11, 2), (15, 3)])
def test_bulyans_neighbours_shrink_to_f_minus_one(n: int, f: int) -> None:
    counts = [Neighbourhood._neighbours(n - gone, f, n - gone) for gone in range(n - 2 * f)]
    expected = [max(1, n - gone - f - 2) for gone in range(n - 2 * f)]
    if f == 0:
        expected[-1] = 0  # the last one left has nobody beside it
    assert counts == expected
    assert counts[-1] == {0: 0, 1: 1}.get(f, f - 1)


def test_bulyan_without_attackers_is_the_mean() -> None:
    updates = normal(9, 40)
    torch.testing.assert_close(Bulyan(f=0)(updates).delta, updates.mean(0))


def test_bulyan_trims_an_attacker_that_was_selected() -> None:
    """Close in all coordinates but one, it passes Krum; the second step must still drop its value."""
    updates = 0.1 * normal(11, 500)
    updates[0] = 0.0
    updates[0, 3] = 2.0
    result = Bulyan(f=2)(updates)
    assert 0 in chosen(result)
    assert abs(float(result.delta[3])) < 0.1


@pytest.mark.parametrize("name", ["krum", "multi-krum", "bulyan"])
@pytest.mark.parametrize("size", [1e9, 1e20, 1e30, 3e38])
def test_giants_are_never_chosen_and_cost_nobody_digits(name: str, size: float) -> None:
    """One more giant than f; the honest scores must still be those of the definition."""
    f = 2
    updates = stretched(15, 30, 4)
    for giant, sign in ((0, 1.0), (7, -1.0), (9, 1.0)):
        updates[giant] = sign * size * torch.rand(30, generator=torch.Generator().manual_seed(giant))
    honest = [i for i in range(15) if i not in (0, 7, 9)]
    result = RULES.create(name, {"f": f})(updates)
    assert not set(chosen(result)) & {0, 7, 9}
    assert float(result.delta.norm()) <= float(updates[honest].norm(dim=1).max())
    expected = np.array(slow.krum_scores(updates.double().numpy(), f))
    if size < 1e10:  # here the loop's own float64 can still hold honest and giant distances in one sum
        assert [result.per_client["score"][i] for i in honest] == pytest.approx(expected[honest].tolist(), rel=1e-9)
    near = slow.krum_scores(updates[honest].double().numpy(), 0)  # 12 left, 10 neighbours = 15 - 3 giants - 2
    if name == "krum":
        assert chosen(result) == [honest[int(np.argmin(near))]]
    assert min(result.per_client["score"][i] for i in (0, 7, 9)) > max(near)


def test_more_giants_than_assumed_shrink_the_choice() -> None:
    updates = stretched(11, 30, 0)
    updates[:5] = 1e25
    assert chosen(MultiKrum(f=1)(updates)) == [5, 6, 7, 8, 9, 10]
    assert chosen(Bulyan(f=1)(updates)) == [5, 6, 7, 8, 9, 10]
    assert Bulyan(f=1)(updates).facts["beta"] == 4


def test_a_giant_among_zero_updates_hides_nobody() -> None:
    """Most updates are zero, so the median length judges nobody; distances among the others must survive 1e30."""
    updates = torch.zeros(9, 20)
    updates[6], updates[7], updates[8] = 1.0, 1e10, 1e30
    result = Krum(f=2)(updates)
    assert chosen(result) == [0]
    assert result.per_client["score"][6] == pytest.approx(20.0 * 5)


@pytest.mark.parametrize("name", ["krum", "multi-krum", "bulyan"])
def test_identical_updates_are_returned(name: str) -> None:
    one = normal(1, 60)[0]
    result = RULES.create(name, {"f": 2})(one.repeat(11, 1))
    assert torch.equal(result.delta, one)
    assert chosen(result) == {"krum": [0], "multi-krum": list(range(9)), "bulyan": list(range(7))}[name]


@pytest.mark.parametrize("name", ["krum", "multi-krum", "bulyan"])
def test_a_client_that_sends_nan_never_wins(name: str) -> None:
    """numpy's argmin takes a NaN score for the lowest; here the round is refused by name of the client."""
    updates = normal(11, 5)
    updates[4] = float("nan")
    with pytest.raises(ValueError, match=r"clients \[4\]"):
        RULES.create(name)(updates)


@pytest.mark.parametrize(
    ("name", "n", "largest"),
    [("krum", 3, 0), ("krum", 10, 3), ("krum", 11, 4), ("multi-krum", 9, 3), ("bulyan", 6, 0), ("bulyan", 11, 2),
     ("bulyan", 100, 24)],
)  # fmt: skip
def test_how_many_attackers_are_assumed(name: str, n: int, largest: int) -> None:
    updates = normal(n, 8)
    assert aggregate(RULES.create(name), updates).facts["f"] == largest
    assert aggregate(RULES.create(name), updates, assumed=0).facts["f"] == 0
    assert aggregate(RULES.create(name), updates, assumed=99).facts["f"] == largest
    assert aggregate(RULES.create(name, {"f": largest}), updates, assumed=0).facts["f"] == largest
    wrong = RULES.create(name, {"f": largest + 1})
    with pytest.raises(ValueError, match=rf"f = {largest + 1} .* n = {n}"):
        aggregate(wrong, updates)
    with pytest.raises(ConfigError, match=rf"defense\.{name}\.f = {largest + 1}: at most {largest} with {n} clients"):
        wrong.check(n, 0)
    RULES.create(name, {"f": largest}).check(n, 0)


@pytest.mark.parametrize("name", ["krum", "multi-krum", "bulyan"])
def test_two_clients_are_too_few(name: str) -> None:
    with pytest.raises(ValueError, match="at least 3 clients, got n = 2"):
        RULES.create(name)(normal(2, 4))
    with pytest.raises(ConfigError, match="at least 3"):
        RULES.create(name).check(2, 0)


def test_multi_krum_refuses_to_average_more_than_there_are() -> None:
    with pytest.raises(ValueError, match="m = 6 of n = 5"):
        MultiKrum(m=6)(normal(5, 4))
    with pytest.raises(ConfigError, match=r"multi-krum\.m = 6: at most the 5"):
        MultiKrum(m=6).check(5, 0)


def test_repeated_choice_of_many_agrees_with_scoring_anew() -> None:
    updates = stretched(40, 12, 3)
    near = Neighbourhood.of(ClientUpdates.bare(updates))
    assert near.repeatedly(9, 40) == slow.repeated_krum(updates.double().numpy(), 9, 40)


@pytest.mark.parametrize(
    ("rule", "asked"), [(Krum(f=3), 10), (MultiKrum(f=3), 10), (MultiKrum(m=10), 10), (Bulyan(f=1), 9)]
)
def test_dropped_replies_cannot_stop_a_rule_whose_number_was_set_by_hand(rule: AggregationRule, asked: int) -> None:
    """Attackers who send rubbish would otherwise freeze the model; too few clients from the start stay an error."""
    updates = normal(asked - 3, 6)

    def with_sampled(sampled: int) -> Aggregate:
        view = ServerView(sampled=sampled)
        n = len(updates)
        return rule.aggregate(
            ClientUpdates(torch.zeros(6), updates, torch.ones(n), range(n), 1, torch.Generator(), server=view)
        )

    assert chosen(with_sampled(asked))
    with pytest.raises(ValueError, match=f"{len(updates)}"):
        with_sampled(len(updates))
