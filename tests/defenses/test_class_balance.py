"""How often each class is drawn from a part of a set: both ways of oversampling, and strata."""

from __future__ import annotations

import torch

from defenses.support.class_balance import as_in_the_whole, stratified_share, up_to_largest

LABELS = torch.tensor([0] * 40 + [1] * 20 + [2] * 20)
PART = torch.cat([torch.arange(0, 30), torch.arange(40, 45), torch.arange(60, 70)])
"""30 of class 0, 5 of class 1, 10 of class 2."""


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_class_up_to_the_largest() -> None:
    rows = up_to_largest(LABELS, PART, rng())
    assert torch.bincount(LABELS[rows]).tolist() == [30, 30, 30]
    assert set(rows.tolist()) == set(PART.tolist()), "duplicates of the part, all of it there"
    assert torch.equal(rows[: len(PART)], PART)


def test_classes_stand_to_each_other_as_in_the_whole_set() -> None:
    rows = as_in_the_whole(LABELS, PART, rng())
    assert torch.bincount(LABELS[rows]).tolist() == [30, 15, 15], "three quarters of 40, 20, 20"
    assert set(rows.tolist()) == set(PART.tolist())


def test_a_class_of_which_nothing_is_left_stays_empty() -> None:
    part = torch.arange(10)
    for way in (up_to_largest, as_in_the_whole):
        assert torch.equal(way(LABELS, part, rng()), part)
        assert len(way(LABELS, part[:0], rng())) == 0
        assert way(LABELS, part[:1], rng()).tolist() == [0]


def test_the_seed_decides() -> None:
    for way in (up_to_largest, as_in_the_whole):
        assert torch.equal(way(LABELS, PART, rng(1)), way(LABELS, PART, rng(1)))
        assert not torch.equal(way(LABELS, PART, rng(1)), way(LABELS, PART, rng(2)))


def test_a_share_is_stratified() -> None:
    rows = stratified_share(LABELS, PART, 0.2, 0, rng())
    assert torch.bincount(LABELS[rows]).tolist() == [6, 1, 2]
    assert torch.equal(rows, rows.sort().values)
    assert torch.equal(stratified_share(LABELS, PART, 1.0, 0, rng()), PART)
    assert torch.equal(stratified_share(LABELS, PART, 1.0, 1000, rng()), PART)
    assert torch.bincount(LABELS[stratified_share(LABELS, PART, 1.0, 9, rng())]).tolist() == [6, 1, 2]
    assert torch.bincount(LABELS[stratified_share(LABELS, PART, 0.01, 0, rng())]).tolist() == [1, 1, 1]
