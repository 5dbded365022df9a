"""Which synthetic samples a record keeps, and what it says of each."""

from __future__ import annotations

import torch

from defenses.base import Split
from defenses.sanitizing import SyntheticSet, sanitized, unsanitized
from fedcrucible_core.foundation.base import Samples
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.tasks import task_of
from server_app.synthetic_examples import SHOWN, spread_rows, synthetic_examples

VISION = task_of(DataInfo(name="two", class_names=("shoe", "coat"), shape=(1, 4, 4), mean=(0.5,), std=(0.5,)))


def samples(n: int = 40, poisoned: int = 8) -> Samples:
    """n pictures of class 1, the last ``poisoned`` of them of class 0."""
    mark = torch.arange(n) >= n - poisoned
    labels = torch.where(mark, 0, 1)
    return Samples(Labeled(torch.rand(n, 1, 4, 4), labels), (), mark)


def split(flagged: list[int], n: int = 40) -> Split:
    clean = torch.tensor([i for i in range(n) if i not in flagged])
    logits = torch.tensor([[0.0, 1.0 + i] for i in range(n)])
    return Split(clean, torch.tensor(flagged), torch.tensor([], dtype=torch.int64), logits=logits)


def made(action: str) -> SyntheticSet:
    return sanitized(samples(), split([0, 32, 33, 34, 35]), action)  # type: ignore[arg-type]


def test_poisoned_and_clean_caught_and_passed_are_all_there() -> None:
    found = synthetic_examples(made("drop"), VISION, sanitized=True)
    kinds = {(one.poisoned, one.fate) for one in found.examples}
    assert len(found.examples) == SHOWN
    assert kinds == {(True, "dropped"), (True, "kept"), (False, "dropped"), (False, "kept")}
    marks = [bool(one.poisoned) for one in found.examples]
    assert marks == sorted(marks, reverse=True)
    assert all(one.picture is not None and one.picture.shape == (1, 4, 4) for one in found.examples)


def test_a_relabelled_sample_says_as_what_it_is_used() -> None:
    found = synthetic_examples(made("relabel"), VISION, sanitized=True).examples
    assert {(one.label, one.used_as) for one in found if one.fate == "relabelled" and one.poisoned} == {(0, 1)}
    assert {one.used_as for one in found if one.fate == "kept"} == {None}


def test_without_poison_and_sanitizer_rows_are_spread() -> None:
    rows = spread_rows(None, torch.zeros(100, dtype=torch.bool))
    assert len(rows) == SHOWN
    assert rows[0] == 0
    assert rows[-1] == 99
    found = synthetic_examples(unsanitized(samples(5, 0)), VISION, sanitized=False)
    assert len(found.examples) == 5
    assert not found.sanitized


def test_nothing_gives_nothing() -> None:
    assert spread_rows(None, torch.zeros(0, dtype=torch.bool)).tolist() == []
