"""Krum's scores, and choosing by them once, m times or again and again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from defenses.kernels.geometry import median, rounding_errors, squared_distances
from defenses.updates import ClientUpdates


@dataclass(frozen=True)
class Neighbourhood:
    """The updates that Krum may choose from, by rising client id, and how far apart they are.

    Giants are left out of it.  They are among nobody's nearest n - f - 2 others while there are at most f + 1 of them,
    so the scores of all others are the paper's; their squares would cost those every digit.
    """

    clients: int
    """n, giants included."""
    rows: Tensor
    """Numbers of the k updates that aren't giants, int64 ``[k]``, in the order of their clients' ids."""
    distances: Tensor
    """Squared distances float64 ``[k, k]``."""
    errors: Tensor
    """What rounding may have done to a distance from each of them, float64 ``[k]``."""
    largest: Tensor
    """Largest absolute value of all n updates, float64 ``[n]``."""

    @classmethod
    def of(cls, updates: ClientUpdates) -> Neighbourhood:
        """Measure a round's updates by one Gram matrix."""
        rows = updates.no_giants.nonzero().flatten()
        if len(rows) < len(updates):
            inner = updates.centred_inner_among(rows)
        elif median(updates.largest) == 0.0:
            inner = updates.inner  # most are zero, so the mean is no centre; and nobody was judged a giant
        else:
            inner = updates.centred_inner
        order = torch.tensor([updates.ids[i] for i in rows.tolist()]).argsort(stable=True)  # ties go to the lowest id
        inner = inner[order][:, order]
        distances = squared_distances(inner, pairwise=True)
        return cls(len(updates), rows[order], distances, rounding_errors(inner), updates.largest)

    def scores(self, f: int) -> Tensor:
        """Sum of the n - f - 2 smallest squared distances to others, float64 ``[k]``."""
        return self._others().sort(dim=1).values[:, : self._neighbours(self.clients, f, len(self.rows))].sum(1)

    def scores_of_all(self, f: int) -> Tensor:
        """``scores`` of all n updates; a giant's is at least what its largest value alone would make of it."""
        scores = self.scores(f)
        every = self._neighbours(self.clients, f, self.clients) * self.largest.square() + scores.max()
        every[self.rows] = scores
        return every

    def lowest(self, f: int, m: int) -> list[int]:
        """Row numbers of the m lowest scores, lowest first, all scored once; fewer where fewer aren't giants."""
        scores = self.scores(f).numpy()
        slack = self._neighbours(self.clients, f, len(scores)) * self.errors.numpy()
        chosen: list[int] = []
        for _ in range(min(m, len(scores))):
            chosen.append(_first_of_the_lowest(scores, slack))
            scores[chosen[-1]] = np.inf
        return self.rows[chosen].tolist()

    def repeatedly(self, f: int, m: int) -> list[int]:
        """Row numbers of m repeated choices: Krum's choice leaves, then the rest is scored anew with n one smaller.

        The neighbours that count shrink with it, n - f - 2 but never below one.
        """
        k = len(self.rows)
        nearest = self._others().sort(dim=1, stable=True)
        distances, who = nearest.values[:, : k - 1].numpy(), nearest.indices[:, : k - 1].numpy()
        alive, errors = np.arange(k), self.errors.numpy()
        chosen: list[int] = []
        for gone in range(min(m, k)):
            neighbours = self._neighbours(self.clients - gone, f, k - gone)
            best = _first_of_the_lowest(distances[:, :neighbours].sum(1), neighbours * errors[alive])
            winner = int(alive[best])
            chosen.append(winner)
            alive, distances, who = (np.delete(each, best, axis=0) for each in (alive, distances, who))
            stays, size = who != winner, (len(alive), max(0, len(alive) - 1))  # every row loses one entry
            distances, who = distances[stays].reshape(size), who[stays].reshape(size)
        return self.rows[chosen].tolist()

    @staticmethod
    def _neighbours(n: int, f: int, k: int) -> int:
        return max(0, min(max(1, n - f - 2), k - 1))

    def _others(self) -> Tensor:
        """Distances with nobody near itself."""
        return self.distances.masked_fill(torch.eye(len(self.rows), dtype=torch.bool), torch.inf)


def _first_of_the_lowest(scores: NDArray[np.float64], slack: NDArray[np.float64]) -> int:
    """The first of those whose score can't be told from the lowest one."""
    return int(np.argmax(scores - slack <= (scores + slack).min()))
