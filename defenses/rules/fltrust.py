"""FLTrust: trust a client as far as its update points the way of the server's own."""

from __future__ import annotations

import torch

from defenses.base import RULES, Aggregate, ClientUpdates
from defenses.kernels.geometry import FLOOR, row_norms
from defenses.support.root_set import RootedRule


@RULES.register("fltrust")
class FLTrust(RootedRule):
    """Weigh clients by the cosine of their update to the server's, and give every update the server's length.

    1. g0 = update of the server from w_t on its root set, with the clients' learning rate and batch size and, like
       algorithm 2 of the paper, their number of steps (``root_training = "epochs"``: their number of epochs).
    2. TS_i = max(0, cos(u_i, g0)), of updates and never of whole models.
    3. delta = sum of TS_i * (||g0|| / ||u_i||) * u_i over sum of TS_i; the model is kept when nobody is trusted.

    The paper's root set is clean, labelled and real (100 images), which CLIP-Fed's threat model forbids; the default
    here is CLIP-Fed's synthetic set, so that both may use the same. A root set of another distribution than the
    clients' costs accuracy. Epochs on a small one are few steps: every update is cut to their short length, and the
    model hardly learns. A backdoor whose update points along g0 is let through.
    """

    paper = ("cao2021fltrust", "algorithm 2")
    choices = ("fltrust-root", "fltrust-steps", "fltrust-nobody")
    cost = "O(nd), and local training on the root set every round"
    traps = (
        "updates, never whole models",
        "nobody trusted keeps the model: no uniform fallback",
        "the root set is never drawn from test images",
        "no root set is an error, never plain FedAvg",
        "the server takes as many steps as a client, not as many epochs on its few images",
    )

    def aggregate(self, updates: ClientUpdates) -> Aggregate:
        """Aggregate one round. Keeps no state.

        Diagnostics per client: ``score`` = 1 - cos(u_i, g0) (0..2), ``trust`` TS_i (0..1), ``norm``. Facts:
        ``root_norm`` ||g0||, ``trusted`` = clients with TS > 0.

        Raises:
            ValueError: the server has no root set, or training on it diverged.
        """
        own = self.root_update(updates)
        cosine = updates.cosines_to(own)
        norms, length = updates.norms.cpu(), float(row_norms(own[None]))
        trust = cosine.clamp(min=0.0)
        total = float(trust.sum())
        weights = trust / total if total > 0.0 else torch.zeros_like(trust)
        delta = updates.weighted_sum(weights * (length / norms.clamp(min=FLOOR)))
        per_client = {"score": (1.0 - cosine).tolist(), "trust": trust.tolist(), "norm": norms.tolist()}
        return Aggregate(delta, weights, per_client, {"root_norm": length, "trusted": float((trust > 0).sum())})
