"""What a rule remembers of earlier rounds to predict updates: last updates by client, and an L-BFGS window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from defenses.kernels.geometry import BLOCK
from defenses.updates import State

RANK_TOLERANCE = 1e-10
"""Singular values below this share of the largest one count as zero: the middle matrix may be singular."""
MISSING = -1.0
"""In the table of scores: none yet.  (NaN would never equal itself in a comparison of states.)"""


@dataclass(frozen=True)
class UpdateHistory:
    """The last rounds of a federation; never changed, every round makes the next one."""

    window: int
    ids: list[int]
    """Clients that are remembered, ascending; one row of the next three each."""
    seen: Tensor
    """int64 ``[m]``: round of the client's last update."""
    last: Tensor
    """float32 ``[m, e]``: that update."""
    scores: Tensor
    """float64 ``[m, window]``, newest last."""
    rounds: list[int]
    """Rounds that were aggregated, the newest p + 1 of them."""
    model: Tensor
    """float32 ``[e]``: global model of the newest round."""
    mean: Tensor
    """float32 ``[e]``: mean update of the newest round."""
    steps: Tensor
    """float32 ``[p, e]``, p <= window: movements of the global model from each of ``rounds`` to the next."""
    changes: Tensor
    """float32 ``[p, e]``: changes of the mean update along the same steps."""

    @classmethod
    def empty(cls, window: int, size: int) -> UpdateHistory:
        """Nothing remembered yet, for vectors of ``size`` numbers."""
        return cls(
            window, [], torch.zeros(0, dtype=torch.int64), torch.zeros(0, size),
            torch.zeros(0, window, dtype=torch.float64), [], torch.zeros(size), torch.zeros(size),
            torch.zeros(0, size), torch.zeros(0, size),
        )  # fmt: skip

    @classmethod
    def read(cls, state: State, window: int, size: int) -> UpdateHistory:
        """From a rule's state; empty when there is none."""
        if "ids" not in state:
            return cls.empty(window, size)
        return cls(
            window, state["ids"].tolist(), state["seen"], state["last"], state["scores"], state["rounds"].tolist(),
            state["model"], state["mean"], state["steps"], state["changes"],
        )  # fmt: skip

    def state(self) -> dict[str, Tensor]:
        """As named tensors."""
        return {
            "ids": torch.tensor(self.ids, dtype=torch.int64),
            "seen": self.seen,
            "last": self.last,
            "scores": self.scores,
            "rounds": torch.tensor(self.rounds, dtype=torch.int64),
            "model": self.model,
            "mean": self.mean,
            "steps": self.steps,
            "changes": self.changes,
        }

    def prediction_errors(
        self, model: Tensor, updates: Tensor, ids: Sequence[int], active: Tensor
    ) -> tuple[dict[int, float], int]:
        """Distance of every active client's update to its prediction, and the pairs the Hessian was made from.

        Clients without a last update within the window are left out; so is everyone while there is no pair with a step.

        Args:
            model: current global model ``[e]``.
            updates: rows ``[n, e]`` of the clients ``ids``; ``active`` bool ``[n]`` says which count.
        """
        known = {i: row for row, i in enumerate(self.ids) if int(self.seen[row]) in self.rounds}
        chosen = [(place, known[i]) for place, i in enumerate(ids) if bool(active[place]) and i in known]
        p = len(self.steps)
        if not chosen or p == 0:
            return {}, 0
        inner = self._inner_products(model)
        used = torch.tensor([k for k in range(p) if float(inner[k, k]) > 0.0], dtype=torch.int64)
        if len(used) == 0:
            return {}, 0
        directions = torch.zeros(len(chosen), 2 * p + 1, dtype=torch.float64)
        ends = torch.tensor(self.rounds[1:])
        for row, (_, old) in zip(directions, chosen, strict=True):
            row[:p] = (ends > self.seen[old]).to(torch.float64)  # the steps since its last update
            row[p] = 1.0
        products = hessian_coefficients(used, p + 1 + used, directions, inner)
        places = [place for place, _ in chosen]
        olds = [old for _, old in chosen]
        squares = torch.zeros(len(chosen), dtype=torch.float64)
        for start in range(0, len(model), BLOCK):
            columns = slice(start, start + BLOCK)
            error = products @ self._known_rows(model, columns)
            error += self.last[olds, columns].to(torch.float64)
            error -= updates[places, columns].to("cpu", torch.float64)
            squares += error.square().sum(1)
        return {ids[place]: float(s) ** 0.5 for place, s in zip(places, squares, strict=True)}, len(used)

    def _known_rows(self, model: Tensor, columns: slice) -> Tensor:
        """Steps, the step to ``model``, changes: float64 ``[2 p + 1, <= BLOCK]``."""
        now = model[columns].to("cpu", torch.float64) - self.model[columns].to(torch.float64)
        return torch.cat(
            [self.steps[:, columns].to(torch.float64), now[None], self.changes[:, columns].to(torch.float64)]
        )

    def _inner_products(self, model: Tensor) -> Tensor:
        size = 2 * len(self.steps) + 1
        total = torch.zeros(size, size, dtype=torch.float64)
        for start in range(0, len(model), BLOCK):
            rows = self._known_rows(model, slice(start, start + BLOCK))
            total += rows @ rows.T
        return (total + total.T) / 2

    def after(
        self, round: int, model: Tensor, updates: Tensor, ids: Sequence[int], active: Tensor, mean: Tensor,
        scores: dict[int, float],
    ) -> UpdateHistory:  # fmt: skip
        """The history that ends with this round: its model, its mean update, its active clients and their scores."""
        model, mean = model.to("cpu", copy=True), mean.to("cpu", copy=True)
        steps, changes = self.steps, self.changes
        if self.rounds:
            steps = torch.cat([steps, _difference(model, self.model)[None]])[-self.window :]
            changes = torch.cat([changes, _difference(mean, self.mean)[None]])[-self.window :]
        present = {i: place for place, i in enumerate(ids) if bool(active[place])}
        before = {i: row for row, i in enumerate(self.ids)}
        everyone = sorted({*before, *present})
        seen = torch.empty(len(everyone), dtype=torch.int64)
        last = torch.empty(len(everyone), len(model))
        table = torch.full((len(everyone), self.window), MISSING, dtype=torch.float64)
        for row, i in enumerate(everyone):
            if i in before:
                table[row] = self.scores[before[i]]
            if i in present:
                seen[row], last[row] = round, updates[present[i]]
            else:
                seen[row], last[row] = self.seen[before[i]], self.last[before[i]]
            if i in scores:
                table[row] = torch.cat([table[row, 1:], torch.tensor([scores[i]], dtype=torch.float64)])
        rounds = [*self.rounds, round][-(self.window + 1) :]
        return UpdateHistory(self.window, everyone, seen, last, table, rounds, model, mean, steps, changes)

    def mean_scores(self, *, full: bool = False) -> dict[int, float]:
        """Mean score of every client that has one, or (``full``) of those that have a whole window of them."""
        means = {}
        for i, row in zip(self.ids, self.scores, strict=True):
            there = row[row != MISSING]
            if len(there) == self.window or (len(there) and not full):
                means[i] = float(there.mean())
        return means


def _difference(new: Tensor, old: Tensor) -> Tensor:
    """``new - old`` in float32, cut off at its largest number."""
    largest = torch.finfo(torch.float32).max
    return (new - old).clamp_(-largest, largest)


def hessian_coefficients(steps: Tensor, changes: Tensor, directions: Tensor, inner: Tensor) -> Tensor:
    """Write B v as a combination of known rows, for several directions v.

    byrd1994, theorem 2.3: with steps S = [s_1 .. s_p] and gradient changes Y = [y_1 .. y_p], oldest
    first, p BFGS updates of sigma * I, sigma = y_p.s_p / s_p.s_p, are

        B = sigma I - [sigma S, Y] M^-1 [sigma S, Y]^T,   M = [[sigma S^T S, L], [L^T, -D]],

    L the part of S^T Y below its diagonal, D its diagonal.  Nothing here needs sigma or D to be positive: with updates
    in the place of gradients both change their sign, and B with them.

    Args:
        steps: row numbers int64 ``[p]`` of the steps, p >= 1.
        changes: row numbers int64 ``[p]`` of the gradient changes.
        directions: coefficients float64 ``[t, r]`` of the vectors v in the rows.
        inner: inner products float64 ``[r, r]`` of all rows.

    Returns:
        Coefficients float64 ``[t, r]`` of B v in the rows.  Zero where the approximation isn't finite (no prediction).
    """
    ss, sy = inner[steps][:, steps], inner[steps][:, changes]
    sigma = float(sy[-1, -1] / ss[-1, -1])
    lower = sy.tril(-1)
    middle = torch.cat([torch.cat([sigma * ss, lower], dim=1), torch.cat([lower.T, -sy.diagonal().diag()], dim=1)])
    along = inner @ directions.T
    right = torch.cat([sigma * along[steps], along[changes]])
    if not bool(torch.isfinite(middle).all() & torch.isfinite(right).all()):
        return torch.zeros_like(directions)
    solved = torch.linalg.pinv(middle, rtol=RANK_TOLERANCE) @ right
    product = sigma * directions
    product[:, steps] -= sigma * solved[: len(steps)].T
    product[:, changes] -= solved[len(steps) :].T
    return product if bool(torch.isfinite(product).all()) else torch.zeros_like(directions)
