"""How often each class is drawn from a part of a labelled set: as it is, as in the whole set, or all alike."""

from __future__ import annotations

import torch
from torch import Tensor


def up_to_largest(labels: Tensor, rows: Tensor, rng: torch.Generator) -> Tensor:
    """Rows int64 with duplicates: every class drawn with replacement up to the largest one's count, which stays.

    ``labels`` int64 ``[n]`` are the whole set's, ``rows`` the part's.  Classes of which the part holds nothing stay
    empty.  What is drawn comes after the rows themselves: all of the part is there.  (CGD's code draws each smaller
    class anew instead, so that some of its samples may be missing.)
    """
    counts = torch.bincount(labels[rows]) if len(rows) else torch.zeros(0, dtype=torch.int64)
    return _filled(labels, rows, counts.max().expand_as(counts) if len(counts) else counts, rng)


def as_in_the_whole(labels: Tensor, rows: Tensor, rng: torch.Generator) -> Tensor:
    """Rows int64 with duplicates, so that classes stand to each other as in the whole set (CGD's paper).

    No row is left out: the class of which the part kept the largest share stays as it is, the others are drawn with
    replacement up to the same share of theirs, rounded.  Classes of which the part holds nothing stay empty.
    """
    if not len(rows):
        return rows
    whole = torch.bincount(labels[labels >= 0]).to(torch.float64)
    part = torch.bincount(labels[rows], minlength=len(whole)).to(torch.float64)
    share = float((part / whole.clamp(min=1.0)).max())
    return _filled(labels, rows, (share * whole).round().to(torch.int64), rng)


def _filled(labels: Tensor, rows: Tensor, wanted: Tensor, rng: torch.Generator) -> Tensor:
    """The rows, and of each class as many more of them as are wanted beyond those that are there."""
    own, more = labels[rows], [rows]
    for label in torch.bincount(own).nonzero().flatten().tolist():
        of_class = rows[own == label]
        lacking = int(wanted[label]) - len(of_class)
        if lacking > 0:
            more.append(of_class[torch.randint(0, len(of_class), (lacking,), generator=rng)])
    return torch.cat(more)


def stratified_share(labels: Tensor, rows: Tensor, share: float, samples: int, rng: torch.Generator) -> Tensor:
    """A share (fraction) of rows, ascending, stratified by class; then at most ``samples`` of them (0 = all).

    Every class that has any keeps at least one.
    """
    own = labels[rows]
    part = share if not samples or not len(rows) else min(share, samples / len(rows))
    if part >= 1.0:
        return rows
    kept = []
    for label in torch.bincount(own).nonzero().flatten().tolist():
        of_class = rows[own == label]
        order = torch.randperm(len(of_class), generator=rng)
        kept.append(of_class[order[: max(1, round(part * len(of_class)))]])
    return torch.cat(kept).sort().values if kept else rows
