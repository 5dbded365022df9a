"""Poisoned data sets: ratio, mode, scope."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attacks import Attack, BadNets, poison_dataset
from attacks.poisoning import eligible_images
from config.sections import AttackSection


class CleanLabel(Attack):
    """Whitens target-class images and leaves their labels."""

    clean_label = True

    def poison_test(self, x):
        return torch.ones_like(x)


def data(labels: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.full((len(labels), 1, 8, 8), 0.5), torch.tensor(labels)


def section(**settings) -> AttackSection:
    return AttackSection(**({"target_label": 0} | settings))


def poisoned(x: torch.Tensor) -> torch.Tensor:
    return (x != 0.5).flatten(1).any(1)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("ratio", "eligible", "count"),
    [(0.5, 5, 3), (0.5, 4, 2), (0.25, 2, 1), (0.25, 1, 0), (0.1, 4, 0), (0.1, 5, 1), (1.0, 7, 7), (0.0, 7, 0)],
)
def test_count_is_rounded_half_up(ratio, eligible, count):
    x, y = data([1] * eligible + [0] * 3)
    px, py = poison_dataset(x, y, BadNets(), section(poison_ratio=ratio), 0, rng())
    assert int(poisoned(px).sum()) == count
    assert int((py == 0).sum()) == 3 + count


@settings(max_examples=30, deadline=None)
@given(
    labels=st.lists(st.integers(0, 3), min_size=1, max_size=40),
    ratio=st.floats(0, 1),
    scope=st.sampled_from(["non-target", "all"]),
    seed=st.integers(0, 99),
)
def test_replace_touches_exactly_the_share(labels, ratio, scope, seed):
    x, y = data(labels)
    settings = section(poison_ratio=ratio, poison_scope=scope)
    px, py = poison_dataset(x, y, BadNets(), settings, 0, rng(seed))
    eligible = len(labels) if scope == "all" else sum(label != 0 for label in labels)
    assert int(poisoned(px).sum()) == int(ratio * eligible + 0.5)
    assert bool((py[poisoned(px)] == 0).all())
    assert torch.equal(py[~poisoned(px)], y[~poisoned(px)])


def test_scope_all_poisons_target_images_too():
    x, y = data([0, 0, 1])
    assert int(poisoned(poison_dataset(x, y, BadNets(), section(poison_ratio=1.0), 0, rng())[0]).sum()) == 1
    everything = section(poison_ratio=1.0, poison_scope="all")
    assert int(poisoned(poison_dataset(x, y, BadNets(), everything, 0, rng())[0]).sum()) == 3


@pytest.mark.parametrize("ratio", [0.1, 1.0])
def test_append_all_keeps_the_clean_half_whatever_the_ratio(ratio):
    x, y = data([0, 1, 2, 3])
    px, py = poison_dataset(x, y, BadNets(), section(poison_ratio=ratio, poison_mode="append-all"), 0, rng())
    assert torch.equal(px[:4], x)
    assert py.tolist() == [0, 1, 2, 3, 0, 0, 0]
    assert poisoned(px).tolist() == [False] * 4 + [True] * 3


@pytest.mark.parametrize("scope", ["non-target", "all"])
def test_clean_label_attacks_touch_the_target_class_only(scope):
    x, y = data([0, 1, 0, 2])
    px, py = poison_dataset(x, y, CleanLabel(), section(poison_ratio=1.0, poison_scope=scope), 0, rng())
    assert poisoned(px).tolist() == [True, False, True, False]
    assert torch.equal(py, y)


def test_eligible_images_are_listed_in_order():
    _, y = data([0, 1, 0, 2])
    assert eligible_images(y, BadNets(), section()).tolist() == [1, 3]
    assert eligible_images(y, BadNets(), section(poison_scope="all")).tolist() == [0, 1, 2, 3]
    assert eligible_images(y, CleanLabel(), section()).tolist() == [0, 2]


def test_choice_follows_the_generator_and_inputs_stay():
    x, y = data([1] * 40)
    half = section(poison_ratio=0.5)
    first, again, other = (poisoned(poison_dataset(x, y, BadNets(), half, 0, rng(s))[0]) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert bool((x == 0.5).all())
    assert y.tolist() == [1] * 40


@pytest.mark.parametrize("settings", [{"poison_ratio": 0.0}, {"poison_mode": "append-all"}, {"poison_ratio": 1.0}])
def test_results_never_share_memory_with_inputs(settings):
    x, y = data([1, 2, 0])
    px, py = poison_dataset(x, y, BadNets(), section(**settings), 0, rng())
    px.zero_()
    py.zero_()
    assert bool((x == 0.5).all())
    assert y.tolist() == [1, 2, 0]
