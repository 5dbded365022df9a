"""Which of a Hugging Face data set's splits is trained on, which is measured, which is for choices."""

from __future__ import annotations

from collections.abc import Sequence

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.plain_text import plain_text
from fedcrucible_core.learning.datasets.listing import split_named

TEST_SPLITS = ("test", "validation", "valid", "val", "dev")
"""Names under which the measured split is looked for, in this order."""


def choose_splits(published: Sequence[str], dataset: str) -> dict[str, str]:
    """``train``, and ``test`` and ``validation`` where there are such -> the name that the split is published under.

    Names agree exactly, else by what they mean whatever their case (``Test``, ``training``).  An only split is train.

    Raises:
        ConfigError: no split for train, or several.
    """
    train = "train" if "train" in published else _meant(published, "train", dataset)
    if not train and len(published) == 1:
        train = published[0]
    if not train:
        shown = ", ".join(map(plain_text, published)) or "none"
        raise ConfigError("task.dataset", dataset, f"needs a split train, has {shown}")
    others = [name for name in published if name != train]
    usual = next((name for name in TEST_SPLITS if name in others), "")
    test = usual if usual == "test" else _meant(others, "test", dataset) or usual
    test = test or _meant(others, "validation", dataset)
    chosen = {"train": train} | ({"test": test} if test else {})
    if "validation" in others and test != "validation":
        chosen["validation"] = "validation"
    return chosen


def unused_note(published: Sequence[str], chosen: dict[str, str]) -> tuple[str, ...]:
    """What a reader has to know of the splits that no number depends on."""
    unused = [plain_text(name) for name in published if name not in chosen.values()]
    return (f"splits that are not used: {', '.join(unused)}",) if unused else ()


def _meant(names: Sequence[str], split: str, dataset: str) -> str:
    """The one of ``names`` that means ``split``; empty where none does. Raises ConfigError where several do."""
    found = [name for name in names if split_named(name) == split]
    if len(found) > 1:
        raise ConfigError("task.dataset", dataset, f"its splits {', '.join(found)} could each be {split}")
    return found[0] if found else ""
