"""FedDMC: principal components, a binary tree without its outliers, and a memory of past verdicts."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from defenses.base import RULES, Aggregate, AggregationRule, ClientUpdates
from defenses.kernels.linkage import MergeTree, merge_tree
from defenses.rules.clip_fed_filter import embed_updates
from defenses.support.client_memory import id_order, recall, remember
from defenses.updates import without_giants


def benign_branch(tree: MergeTree, noise_size: int, clients: int) -> tuple[Tensor, int]:
    """Members, bool ``[leaves]``, of the benign branch of a tree, and how many outliers were peeled off.

    From the root down, a child of at most ``noise_size`` leaves is cut off while the other one holds more than half of
    ``clients``. A child with more than half is benign then, the other malicious; if none has, what is left is benign.
    """
    node, peeled = tree.root, 0
    while not tree.is_leaf(node) and tree.height(node) > 0.0:
        sizes = [(int(tree.members(child).sum()), child) for child in tree.children(node)]
        (fewer, _), (more, larger) = sorted(sizes)
        if 2 * more <= clients:
            break
        node = larger
        if fewer > noise_size:
            break
        peeled += fewer
    return tree.members(node), peeled


@RULES.register("feddmc")
class FedDMC(AggregationRule):
    """Reject clients whom the tree of principal components puts apart, by an average over the rounds.

    1. Centre the updates, keep the first ``components`` principal components (n x n route, float64).
    2. Ward's agglomerative tree of the scores. From the root: a branch of at most ``noise_size`` clients is cut off as
       outliers, while more than half of the round's clients remain.
    3. Of the two branches then, one with more than half of the clients is benign and the other malicious; if neither
       has, all that remain are benign.
    4. Verdicts m_i (1 = outlier or malicious) are corrected by their history: s_i = memory * s_i + (1 - memory) * m_i,
       kept by client id, 0.5 for a client never seen. Clients with s_i > 0.5 are rejected, the others averaged.

    Memory and start of s are assumptions: the paper's numbers weren't at hand. At the default, an attacker with a long
    honest past is rejected from its second bad verdict on. An update over 10,000 times longer than the median is an
    outlier before PCA, which it would drown.
    """

    paper = ("mu2024feddmc", "PCA, tree with noise, self-ensemble correction")
    choices = ("feddmc-memory", "giants")
    state_kept = "moving average of verdicts per client id"
    cost = "O(n^2 d): one Gram pass, Ward linkage O(n^2)"
    traps = ("history by client id, never by position",)
    components: int = Field(10, ge=1, description="Principal components")
    noise_size: int = Field(3, ge=0, description="Branches of at most this many clients are outliers")
    memory: float = Field(0.7, ge=0.0, lt=1.0, description="Share (fraction) of the past in a client's average verdict")

    def aggregate(self, updates: ClientUpdates) -> Aggregate:
        """Aggregate one round. State: ``ids``, and ``verdict`` float64 ``[clients ever seen]``, the averages s.

        Diagnostics per client: ``score`` = s_i (0..1), ``verdict`` of this round (0 or 1), ``norm``. Facts:
        ``peeled`` = outliers, ``flagged`` = verdicts of 1 this round, ``accepted``.
        """
        order = id_order(updates.ids)
        norms = updates.norms.cpu()
        rows = order[without_giants(norms)[order]]
        verdict = torch.ones(len(updates), dtype=torch.float64)
        whole = len(rows) == len(updates)
        inner = updates.centred_inner[rows][:, rows] if whole else updates.centred_inner_among(rows)
        distances = embed_updates(inner.cpu(), self.components).distances()
        benign, peeled = benign_branch(merge_tree(distances, "ward"), self.noise_size, len(updates))
        verdict[rows[benign]] = 0.0
        past = recall(updates.state, "verdict", updates.ids, torch.tensor(0.5, dtype=torch.float64))
        average = self.memory * past + (1.0 - self.memory) * verdict
        accepted = average <= 0.5
        weights = updates.equal_shares(accepted)
        return Aggregate(
            updates.weighted_sum(weights),
            weights,
            {"score": average.tolist(), "verdict": verdict.tolist(), "norm": norms.tolist()},
            {"peeled": float(peeled), "flagged": float(verdict.sum()), "accepted": float(accepted.sum())},
            remember(updates.state, "verdict", updates.ids, average),
        )
