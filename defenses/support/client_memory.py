"""What a rule remembers about each client, by client id and never by position in a round."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from defenses.updates import State

IDS = "ids"
"""State name of the clients that are remembered: int64 ``[m]``, ascending."""


def id_order(ids: Sequence[int]) -> Tensor:
    """Positions int64 ``[n]`` of the rows in ascending order of client id.

    What breaks ties by position (libraries do) sees clients in this order, so that no result depends on the round's.
    """
    return torch.tensor(list(ids), dtype=torch.int64).argsort()


def recall(state: State, name: str, ids: Sequence[int], fresh: Tensor) -> Tensor:
    """What is remembered as ``name`` about the clients ``ids``: a new tensor ``[n, ...]``, in their order.

    ``fresh`` (of one client's shape, dtype and device) stands for a client never seen.
    """
    rows = fresh.repeat(len(ids), *[1] * fresh.ndim)
    if IDS in state:
        known, wanted = state[IDS].cpu(), torch.tensor(list(ids), dtype=torch.int64)
        at = torch.searchsorted(known, wanted).clamp(max=max(0, len(known) - 1))
        seen = known[at] == wanted if len(known) else torch.zeros(len(wanted), dtype=torch.bool)
        for row in seen.nonzero().flatten().tolist():
            rows[row] = state[name][at[row]].to(rows)
    return rows


def remember(state: State, name: str, ids: Sequence[int], rows: Tensor) -> dict[str, Tensor]:
    """The state in which ``rows [n, ...]`` replace what was remembered as ``name`` about ``ids``; others are kept."""
    present = torch.tensor(list(ids), dtype=torch.int64)
    known = state[IDS].cpu() if IDS in state else present[:0]
    everyone = torch.unique(torch.cat([known, present]))
    if torch.equal(everyone, present):
        return {IDS: everyone, name: rows}
    merged = rows.new_empty((len(everyone), *rows.shape[1:]))
    if len(known):
        merged[torch.searchsorted(everyone, known)] = state[name].to(rows)
    merged[torch.searchsorted(everyone, present)] = rows
    return {IDS: everyone, name: merged}
