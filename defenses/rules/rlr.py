"""Robust learning rate: coordinates on which too few clients agree are stepped backwards."""

from __future__ import annotations

import math

import torch
from pydantic import Field

from defenses.base import RULES, Aggregate, ClientUpdates
from defenses.kernels.geometry import column_blocks
from defenses.support.assumed_attackers import AssumesAttackers


@RULES.register("rlr")
class Rlr(AssumesAttackers):
    """Unweighted mean of the updates, with the sign turned around wherever the clients' signs don't agree.

    Agreement a_j = |sum_i sign(u_ij)|, between 0 and n; delta_j = mean_j where a_j >= theta, else -mean_j.  A
    coordinate that nobody changes stays as it is.

    theta is ``share`` times n, rounded up; automatic (0) is f + 1.  Where honest clients cancel each other out, f
    attackers reach an agreement of f, so theta > f.  Where all n - f honest clients agree against f attackers, the
    agreement is n - 2f, so theta <= n - 2f.  Both are possible only if 3f < n.  theta counts votes for minus votes
    against: 8 of 10 asks for nine that agree.

    Only signs are judged.  Nothing is clipped, so one long update moves the mean anywhere.  On skewed data honest
    clients disagree on many coordinates, and all of those are unlearned.
    """

    paper = ("ozdayi2021rlr", "")
    choices = ("rlr-threshold", "assumed-attackers")
    cost = "O(nd) in blocks"
    traps = ("threshold from n and f, not absolute",)
    condition = "3f < n is needed for a theta in (f, n - 2f]"
    share: float = Field(0.0, ge=0.0, le=1.0, description="theta as a share (fraction) of the clients; 0 = f + 1")

    @classmethod
    def largest_f(cls, n: int) -> int:
        """3f < n."""
        return (n - 1) // 3

    def aggregate(self, updates: ClientUpdates) -> Aggregate:
        """Aggregate one round. Keeps no state.

        Diagnostics per client: ``score`` = share (0..1) of the coordinates that it changes against the majority's
        sign (higher is more suspicious), ``norm``. Facts: ``theta``, ``flipped`` = share of coordinates turned around,
        ``f`` unless theta is set by hand.
        """
        n, d = updates.matrix.shape
        facts: dict[str, float] = {}
        if self.share > 0.0:
            theta = math.ceil(round(self.share * n, 9))  # 0.55 * 20 is 11.000000000000002
        else:
            f = self.attackers(updates)
            theta, facts["f"] = f + 1, float(f)
        delta = torch.empty(d, dtype=updates.matrix.dtype, device=updates.matrix.device)
        against, flipped = torch.zeros(n, dtype=torch.float64), 0
        for columns, block in column_blocks(updates.matrix):
            mean = block.mean(0)
            signs = block.sign_()
            votes = signs.sum(0)
            majority = votes.sign()
            disagree = (votes.abs() < theta) & (mean != 0.0)
            delta[columns] = torch.where(disagree, -mean, mean).to(delta.dtype)
            flipped += int(disagree.sum())
            cast, agreeing = signs.abs() @ majority.abs(), signs @ majority  # for plus against, for minus against
            against += ((cast - agreeing) / 2).cpu()
        everyone = torch.ones(n, dtype=torch.bool)
        return Aggregate(
            delta,
            updates.equal_shares(everyone),
            {"score": (against / max(1, d)).tolist(), "norm": updates.norms.tolist()},
            {"theta": float(theta), "flipped": flipped / max(1, d), **facts},
        )
