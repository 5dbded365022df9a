"""The texts of a Hugging Face data set's column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.datasets.base import PublishedData
from fedcrucible_core.learning.datasets.skipped import Skipped
from fedcrucible_core.learning.datasets.texts import published_texts
from fedcrucible_core.learning.partition.base import Labels


def read_texts(
    splits: Mapping[str, Any], column: str, labels: Mapping[str, Labels], info: DataInfo, notes: tuple[str, ...]
) -> PublishedData:
    """Each split's texts with its labels; rows without a text are left out with a note.

    Raises ConfigError where no training row has one.
    """
    skipped = Skipped(noun="row")
    texts: dict[str, list[str]] = {}
    kept: dict[str, list[int]] = {}
    for split, rows in splits.items():
        found = rows.select_columns([column])[column][:]
        kept[split] = [row for row, text in enumerate(found) if text and text.strip()]
        texts[split] = [found[row] for row in kept[split]]
        for row in sorted(set(range(len(found))) - set(kept[split])):
            skipped.add("no text", f"{split} row {row}")
    if not texts["train"]:
        allowed = f"holds no text in train; {'; '.join(skipped.notes())}".rstrip("; ")
        raise ConfigError("task.text_column", column, allowed)
    return published_texts(
        info,
        texts,
        {split: torch.from_numpy(labels[split][rows]) for split, rows in kept.items()},
        rows={split: torch.tensor(rows, dtype=torch.int64) for split, rows in kept.items()},
        notes=(*notes, *skipped.notes()),
    )
