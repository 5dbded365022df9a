"""Local training in two steps: the extractor by a supervised contrastive loss, then the classifier on its features."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fedcrucible_core.config.sections import TrainingSection
from fedcrucible_core.learning.evaluation import embed
from fedcrucible_core.learning.models.base import SplitModel
from fedcrucible_core.learning.tasks.vision import crop_flip
from fedcrucible_core.learning.training import train

FORWARD_BATCH = 500
"""Inputs per forward pass without gradient."""


def supervised_contrastive(features: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Mean over anchors of -1/|P(i)| sum_{p in P(i)} log(exp(z_i.z_p / t) / sum_{a != i} exp(z_i.z_a / t)).

    ``features [m, e]`` are L2-normalised here; P(i) are the other rows with the label of row i.  Rows without any are
    left out (khosla2020supcon, L_out).
    """
    z = F.normalize(features.float(), dim=1)
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    similar = (z @ z.T / temperature).masked_fill(itself, -torch.inf)
    log_share = similar - similar.logsumexp(1, keepdim=True)
    positive = (labels[:, None] == labels[None, :]) & ~itself
    counts = positive.sum(1)
    by_anchor = -log_share.masked_fill(~positive, 0.0).sum(1) / counts.clamp(min=1)
    return by_anchor[counts > 0].mean()


class Projected(nn.Module):
    """A model's extractor with a projection head; the classifier is no part of it."""

    def __init__(self, model: SplitModel, dimension: int, seed: int) -> None:
        super().__init__()
        width = model.feature_dim
        self.features = model.features
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, dimension))
        self.head = head.to(next(model.parameters()).device)
        self._embed = model.embed

    def forward(self, x: Tensor) -> Tensor:
        """Projections ``[n, dimension]``."""
        projected: Tensor = self.head(self._embed(x))
        return projected


def _view(x: Tensor, rng: torch.Generator) -> Tensor:
    """One view of a batch of pictures float32, or of token ids int64."""
    return crop_flip(x, rng) if x.is_floating_point() else x


@dataclass(frozen=True)
class ContrastiveTraining:
    """A way for clients to train; stands in for :func:`learning.training.train`.

    1. Extractor: ``local_epochs`` of the run over the inputs, each batch seen in two views, by the supervised
       contrastive loss of a two-layer projection head, which is drawn anew every time and never uploaded.  Views of
       images are random crops and flips; a text is seen twice as it is, parted by the model's dropout (gao2021simcse).
    2. Classifier: ``classifier_epochs`` by cross-entropy on the frozen features of the inputs themselves.
    """

    temperature: float
    projection: int
    classifier_epochs: int

    def __call__(
        self,
        model: SplitModel,
        inputs: Tensor,
        labels: Tensor,
        settings: TrainingSection,
        rng: torch.Generator,
        *,
        precision: str = "fp32",
    ) -> float:
        """Train ``model`` in place; the reported loss is the classifier's."""
        plain = settings.model_copy(update={"augment": "none"})
        seed = int(torch.randint(2**62, (), generator=rng))
        projected = Projected(model, self.projection, seed)

        def contrast(x: Tensor, y: Tensor) -> Tensor:
            views = torch.cat([_view(x, rng), _view(x, rng)])
            return supervised_contrastive(projected(views), torch.cat([y, y]), self.temperature)

        train(projected, inputs, labels, plain, rng, precision=precision, objective=contrast)
        features = embed(model, inputs, FORWARD_BATCH, inputs.device)
        settings = plain.model_copy(update={"local_epochs": self.classifier_epochs})
        loss = train(model.head, features, labels, settings, rng, precision=precision)
        model.eval()
        return loss
