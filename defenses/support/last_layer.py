"""The columns of the classifier, where rules look for what a client wants the model to say."""

from __future__ import annotations

from torch import Tensor

from defenses.updates import ClientUpdates


def last_layer(updates: ClientUpdates) -> slice | Tensor:
    """Columns of the classifier's parameters, as a slice where they are adjacent; all columns without a layout."""
    columns = updates.columns("classifier")
    first, last = int(columns[0]), int(columns[-1])
    return slice(first, last + 1) if last - first + 1 == len(columns) else columns
