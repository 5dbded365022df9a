"""Poisoned data sets: ratio, mode, scope, decoys."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attacks.poisoner import Poisoner
from attacks.poisoners.badnets import BadNets
from attacks.poisoners.label_flip import LabelFlip
from attacks.poisoning import eligible_rows, poison_count
from attacks.task import AttackTask
from fedcrucible_core.config.sections import PoisonSection
from fedcrucible_core.learning.data import Labeled
from tests.support.tiny_task import context, make_task, poisoned_rows


class CleanLabel(Poisoner):
    """Whitens target-class images and leaves their labels."""

    clean_label = True

    def stamp(self, x, y, ctx):
        return torch.ones_like(x)


class Marked(BadNets):
    """BadNets on the last image alone."""

    def carriers(self, images, task):
        return torch.arange(len(images)) == len(images) - 1


class OnlyAdds(BadNets):
    """Leaves the set at hand alone."""

    @property
    def poisons_own(self) -> bool:
        return False


GREY = 128 / 255


class Decoys(BadNets):
    """BadNets with two decoys for each poisoned image: the picture that it is given beside, with its own label."""

    def decoy_count(self, poisoned, eligible):
        return 2 * poisoned

    def decoys(self, x, others, ctx):
        assert not bool((x == others).flatten(1).all(1).any()), "an image must not be its own companion"
        return torch.zeros_like(x)


def task_of(labels: list[int], distinct: bool = False) -> AttackTask:
    pixels = torch.full((len(labels), 1, 8, 8), 128, dtype=torch.uint8)
    if distinct:
        pixels[:, 0, 0, 0] = torch.arange(len(labels), dtype=torch.uint8)
    return make_task(Labeled(pixels, torch.tensor(labels)), target=0)


def poison(
    labels: list[int], attack: Poisoner, section: PoisonSection, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    return poisoned_rows(attack, section, context(task_of(labels), seed=seed), torch.arange(len(labels)))


def section(**settings) -> PoisonSection:
    return PoisonSection(**({"target_label": 0} | settings))


def carry(x: torch.Tensor) -> torch.Tensor:
    return (x != GREY).flatten(1).any(1)


@pytest.mark.parametrize(
    ("ratio", "eligible", "count"),
    [(0.5, 5, 3), (0.5, 4, 2), (0.25, 2, 1), (0.25, 1, 0), (0.1, 4, 0), (0.1, 5, 1), (1.0, 7, 7), (0.0, 7, 0)],
)
def test_count_is_rounded_half_up(ratio, eligible, count) -> None:
    px, py = poison([1] * eligible + [0] * 3, BadNets(), section(ratio=ratio))
    assert int(carry(px).sum()) == count
    assert int((py == 0).sum()) == 3 + count


@settings(max_examples=30, deadline=None)
@given(
    labels=st.lists(st.integers(0, 3), min_size=1, max_size=40),
    ratio=st.floats(0, 1),
    scope=st.sampled_from(["non-target", "all"]),
    seed=st.integers(0, 99),
)
def test_replace_touches_exactly_the_share(labels, ratio, scope, seed) -> None:
    px, py = poison(labels, BadNets(), section(ratio=ratio, scope=scope), seed)
    eligible = len(labels) if scope == "all" else sum(label != 0 for label in labels)
    assert int(carry(px).sum()) == int(ratio * eligible + 0.5)
    assert bool((py[carry(px)] == 0).all())
    assert torch.equal(py[~carry(px)], torch.tensor(labels)[~carry(px)])


def test_scope_all_poisons_target_images_too() -> None:
    assert int(carry(poison([0, 0, 1], BadNets(), section(ratio=1.0))[0]).sum()) == 1
    everything = section(ratio=1.0, scope="all")
    assert int(carry(poison([0, 0, 1], BadNets(), everything)[0]).sum()) == 3


def test_only_the_attackers_own_rows_are_touched_and_in_their_order() -> None:
    task = task_of([1, 2, 3, 4, 5], distinct=True)
    px, py = poisoned_rows(BadNets(), section(ratio=0.0), context(task), torch.tensor([4, 1]))
    assert py.tolist() == [5, 2]
    assert torch.equal(px, task.train.for_model()[[4, 1]])


@pytest.mark.parametrize("ratio", [0.1, 1.0])
def test_append_all_keeps_the_clean_half_whatever_the_ratio(ratio) -> None:
    px, py = poison([0, 1, 2, 3], BadNets(), section(ratio=ratio, mode="append-all"))
    assert py.tolist() == [0, 1, 2, 3, 0, 0, 0]
    assert carry(px).tolist() == [False] * 4 + [True] * 3


@pytest.mark.parametrize("scope", ["non-target", "all"])
def test_clean_label_attacks_touch_the_target_class_only(scope) -> None:
    px, py = poison([0, 1, 0, 2], CleanLabel(), section(ratio=1.0, scope=scope))
    assert carry(px).tolist() == [True, False, True, False]
    assert py.tolist() == [0, 1, 0, 2]


def test_eligible_images_are_listed_in_order() -> None:
    images = task_of([0, 1, 0, 2]).train

    def eligible(poisoner: Poisoner, **settings: str) -> list[int]:
        rows = eligible_rows(images, poisoner, context(make_task(images, 0), section=section(**settings)))
        return rows.tolist()

    assert eligible(BadNets()) == [1, 3]
    assert eligible(BadNets(), scope="all") == [0, 1, 2, 3]
    assert eligible(CleanLabel()) == [0, 2]
    assert eligible(LabelFlip()) == [0, 1, 2, 3]
    assert eligible(Marked()) == [3]
    assert eligible(OnlyAdds()) == []


@pytest.mark.parametrize(
    ("ratio", "hits", "decoys"), [(0.0, 0, 0), (0.1, 1, 2), (0.25, 3, 6), (0.5, 5, 5), (0.9, 9, 1), (1.0, 10, 0)]
)
def test_decoys_are_drawn_among_the_rest_and_keep_labels(ratio, hits, decoys) -> None:
    labels = [0, 0, *range(1, 6), *range(1, 6)]
    task = task_of(labels, distinct=True)
    px, py = poisoned_rows(Decoys(), section(ratio=ratio), context(task), torch.arange(12))
    blank = (px == 0).flatten(1).all(1)
    assert int((py == 0).sum()) == 2 + hits
    assert int(blank.sum()) == decoys
    assert py[blank].tolist() == task.train.labels[blank].tolist()
    assert bool((py[blank] != 0).all()), "no decoy is made of what may not be poisoned"
    assert torch.equal(px[:2], task.train.for_model()[:2])


def test_appended_decoys_come_after_the_poisoned_copies() -> None:
    task = task_of([0, 1, 2, 3], distinct=True)
    px, py = poisoned_rows(Decoys(), section(mode="append-all"), context(task), torch.arange(4))
    assert py[:7].tolist() == [0, 1, 2, 3, 0, 0, 0]
    assert py[7:].tolist() == [1, 2, 3], "as many as asked for, but no image twice"
    assert bool((px[7:] == 0).all())


def test_a_lone_image_has_no_companion() -> None:
    for mode in ("replace", "append-all"):
        _, py = poison([1], Decoys(), section(ratio=1.0, mode=mode))
        assert py.tolist() == ([0] if mode == "replace" else [1, 0])


def test_choice_follows_the_generator_and_the_tasks_images_stay() -> None:
    half, labels = section(ratio=0.5), [1] * 40
    first, again, other = (carry(poison(labels, BadNets(), half, seed)[0]) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    task = task_of(labels)
    px, py = poisoned_rows(BadNets(), half, context(task), torch.arange(40))
    px.zero_()
    py.zero_()
    assert bool((task.train.inputs == 128).all())
    assert task.train.labels.tolist() == labels


@pytest.mark.parametrize(("labels", "expected", "short"), [([0] * 6 + [1] * 4, 2, 0), ([0] * 9 + [1], 1, 1)])
def test_a_share_of_all_samples_takes_as_many_as_there_are(labels: list[int], expected: int, short: int) -> None:
    task = task_of(labels)
    section = PoisonSection(ratio=0.2, share_of="all")
    ctx = context(task, section=section)
    assert int(BadNets().poison(task.train, ctx).poisoned.sum()) == expected
    count = poison_count(task.train, BadNets(), ctx)
    assert (count.poisoned, count.short) == (expected, short)
