"""FLPurifier: honest clients learn features by contrast, and the server weights classifiers by their likeness."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from defenses.base import RULES, Aggregate, AggregationRule, ClientUpdates, Needs
from defenses.kernels.geometry import BLOCK, FLOOR
from fedcrucible_core.learning.contrastive import ContrastiveTraining


@RULES.register("flpurifier")
class FLPurifier(AggregationRule):
    """Contrastive training on honest clients; mean of extractors, similarity-weighted mean of classifiers.

    Clients: the extractor learns by the supervised contrastive loss (two random views, a projection head that stays
    with the client and is new every round), without cross-entropy, so that no trigger is tied to a label there; then
    the classifier by cross-entropy on frozen features.  Malicious clients need not comply: they train as their attack
    says, and honestly while it rests.

    Server: extractors are averaged without weights.  Client i's classifier c_i = c_t + its update gets the weight
    softmax_i(cos(c_i, m) / temperature), m the coordinate-wise median of the classifiers.  Nobody is rejected.  A
    single attacker can move the mean of extractors anywhere: the defence lies in the honest clients' training.

    Assumed, for no complete public code exists: two-layer projection of 128 numbers, contrastive temperature 0.07, one
    epoch of the classifier, crop and flip as views (of texts: the model's dropout), the median in place of the mean
    classifier, softmax temperature 1.
    Without a layout of the vector all of it counts as classifier.
    """

    paper = ("zhang2024flpurifier", "decoupled contrastive training, as far as known")
    choices = ("flpurifier-server",)
    knowledge = ("honest clients' cooperation",)
    cost = "O(nd); clients: two augmented views and a second stage of training"
    traps = ("median classifier as the reference, not the mean",)
    contrast_temperature: float = Field(0.07, gt=0.0, description="Temperature of the contrastive loss")
    projection: int = Field(128, ge=1, le=4096, description="Outputs of the clients' projection head")
    classifier_epochs: int = Field(1, ge=1, description="Epochs of the classifier on frozen features, each round")
    temperature: float = Field(1.0, gt=0.0, description="Temperature of the softmax over cosines of classifiers")
    cosine_on: Literal["models", "updates"] = Field(
        "models", description="models: cosine of whole classifiers; updates: of their differences"
    )

    @property
    def needs(self) -> Needs:
        """Honest clients that train in two stages."""
        return Needs(training=ContrastiveTraining(self.contrast_temperature, self.projection, self.classifier_epochs))

    def aggregate(self, updates: ClientUpdates) -> Aggregate:
        """Aggregate one round. Keeps no state.

        ``weights`` are those of the extractors, 1/n each.  Diagnostics per client: ``score`` = 1 - cosine to the median
        classifier (0..2), ``classifier_weight``, ``norm``.
        """
        n = len(updates)
        columns = updates.output_columns()
        everything = len(columns) == updates.matrix.shape[1]
        rows = updates.matrix if everything else updates.matrix[:, columns]
        offset = updates.w_t if everything else updates.w_t[columns]
        cosines = median_cosines(rows, offset if self.cosine_on == "models" else torch.zeros_like(offset))
        shares = (cosines / self.temperature).softmax(0)
        weights = updates.equal_shares(torch.ones(n, dtype=torch.bool))
        delta = updates.weighted_sum(shares if everything else weights)
        if not everything:
            delta[columns] = (shares @ rows.to("cpu", torch.float64)).to(delta)
        return Aggregate(
            delta,
            weights,
            {
                "score": (1.0 - cosines).tolist(),
                "classifier_weight": shares.tolist(),
                "norm": updates.norms.tolist(),
            },
        )


def median_cosines(rows: Tensor, offset: Tensor) -> Tensor:
    """Cosine float64 ``[n]`` of every row plus ``offset`` to the coordinate-wise median of all of them.

    The median of an even number is the mean of the middle two.  A zero vector has cosine 0, unless all are zero alike:
    then everything equals the median, and the cosines are 1.
    """
    n = len(rows)
    along, squares, own = torch.zeros(n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64), 0.0
    for start in range(0, rows.shape[1], BLOCK):
        columns = slice(start, start + BLOCK)
        block = rows[:, columns].to("cpu", torch.float64, copy=True)
        block += offset[columns].to("cpu", torch.float64)
        low, high = (n - 1) // 2, n // 2
        ordered = torch.from_numpy(np.partition(block.numpy(), (low, high), axis=0))
        middle = (ordered[low] + ordered[high]) / 2
        along += block @ middle
        squares += block.square().sum(1)
        own += float(middle.square().sum())
    if not bool(squares.any()):
        return torch.ones(n, dtype=torch.float64)
    cosines: Tensor = (along / squares.sqrt().clamp(min=FLOOR) / max(own**0.5, FLOOR)).clamp(-1.0, 1.0)
    return cosines
