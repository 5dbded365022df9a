"""Who is marked best, and which attacks are weak."""

from __future__ import annotations

from fedcrucible_core.reports.statistics.spread import Spread, spread
from fedcrucible_core.reports.statistics.standing import Best, best, is_weak


def alone(**values: float) -> dict[str, Spread | None]:
    return {name: spread([value]) for name, value in values.items()}


def test_the_best_asr_is_sought_among_models_that_still_work() -> None:
    """A model that was destroyed has no backdoor either."""
    ma = alone(fedavg=85.0, good=82.0, broken=10.0)
    asr = alone(fedavg=95.0, good=3.0, broken=0.0)
    assert best(ma, asr, margin=5.0) == Best(frozenset({"fedavg"}), frozenset({"good"}))
    assert best(ma, asr, margin=2.0).asr == {"fedavg"}
    assert best(ma, asr, margin=100.0).asr == {"broken"}


def test_what_looks_equal_is_marked_together() -> None:
    found = best(alone(a=80.001, b=80.0, c=79.98), alone(a=2.0, b=2.004, c=2.01))
    assert found.ma == {"a", "b"}
    assert found.asr == {"a", "b"}


def test_missing_numbers_and_single_systems() -> None:
    assert best(alone(a=80.0), alone(a=1.0)) == Best()
    assert best({"a": None, "b": None}, {"a": None, "b": None}) == Best()
    found = best({**alone(a=80.0, b=81.0), "c": None}, {"a": None, **alone(b=4.0, c=0.0)})
    assert found == Best(frozenset({"b"}), frozenset({"b"}))


def test_means_decide() -> None:
    ma = {"a": spread([70.0, 90.0]), "b": spread([79.0, 79.5])}
    assert best(ma, {}).ma == {"a"}


def test_an_attack_is_weak_below_half_undefended() -> None:
    assert is_weak([10.0, 20.0]) is True
    assert is_weak([49.9]) is True
    assert is_weak([50.0]) is False
    assert is_weak([20.0, 90.0]) is False
    assert is_weak([]) is None
