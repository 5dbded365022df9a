"""Suspicious is a row whose surroundings, in the guide's embeddings, are not those of its label."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from defenses.base import SPLITTERS, Needs, Split, Splitter
from defenses.kernels.neighbour_distances import kth_distance, slof
from defenses.support.suspicion import Cut, suspicious
from fedcrucible_core.foundation.base import GuideTargets
from fedcrucible_core.learning.data import Labeled


@SPLITTERS.register("guide-density")
class GuideDensity(Splitter):
    """Local outliers among the guide's embeddings; class names and logits play no part.

    ``score`` is, with d_k(i, c) the distance of row i to its k-th nearest row of label c:

    - ``other``: log d_k(i, y_i) - log min over c != y_i of d_k(i, c), above 0 where another label is nearer;
    - ``own``: log of the simplified local outlier factor among the rows of the same label, the mean over the k nearest
      j of d_k(i) / d_k(j).  It misses poison that is dense, as the same trigger on many rows of one label is.
    """

    paper: ClassVar = (
        ("huang2025detecting", "local outliers of the embeddings, k = 16; here within labels"),
        ("schubert2014local", "simplified LOF"),
        ("breunig2000lof", ""),
    )
    choices = ("guide-density-score",)
    knowledge = ("foundation model",)
    cost = "the guide's embedding of every sample, cached; O(n^2 e) distances"
    score: Literal["other", "own"] = Field("other", description="other: whose label is nearest; own: how thin it is")
    cut: Cut | Literal["sign"] = Field(
        "sign", description="Where suspicion begins: above 0 (score other), or a cut of the score's distribution"
    )
    share: float = Field(0.25, gt=0.0, lt=1.0, description="share: suspected share (fraction) of all rows")
    k: int = Field(16, ge=1, description="Neighbours")

    @property
    def needs(self) -> Needs:
        """The guide."""
        return Needs(guide=True)

    def split(
        self,
        data: Labeled,
        guide: GuideTargets | None,
        model: nn.Module | None,
        rng: torch.Generator,
    ) -> Split:
        """Split by density. Scores: ``density``. Raises ValueError without a guide."""
        if guide is None:
            raise ValueError("guide-density needs the guide's embeddings of the samples")
        points, labels = guide.embeddings.detach().cpu().to(torch.float64), data.labels.cpu()
        usable = torch.isfinite(points).all(1)
        scores = torch.zeros(len(data), dtype=torch.float64)
        scores[usable] = self._scores(points[usable], labels[usable])
        triggered = scores > 0.0 if self.cut == "sign" else suspicious(scores, self.cut, self.share)
        triggered = triggered | ~usable
        return Split.by(~triggered, triggered, {"density": scores}, {"flagged": float(triggered.sum())})

    def _scores(self, points: Tensor, labels: Tensor) -> Tensor:
        scores = torch.zeros(len(points), dtype=torch.float64)
        for label in torch.unique(labels).tolist():
            own = labels == label
            if self.score == "own":
                scores[own] = slof(points[own], self.k).log()
            else:
                scores[own] = self._nearer_elsewhere(points, labels, label)
        return scores

    def _nearer_elsewhere(self, points: Tensor, labels: Tensor, label: int) -> Tensor:
        """The score ``other`` of the rows of one label; 0 where there is no other label.

        A label with fewer than k rows is judged by all it has; a row is no neighbour of itself.
        """
        own = labels == label
        others = [labels == c for c in torch.unique(labels).tolist() if c != label]
        if not others:
            return torch.zeros(int(own.sum()), dtype=torch.float64)
        if int(own.sum()) == 1:  # nobody shares its label: all that can be said is that another one is nearer
            return torch.ones(1, dtype=torch.float64)
        here = kth_distance(points[own], points[own], self.k + 1)  # the nearest is the row itself
        elsewhere = torch.stack([kth_distance(points[own], points[rows], self.k) for rows in others])
        return here.log() - elsewhere.amin(0).log()
