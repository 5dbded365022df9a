"""CLIP-Fed's feature rectification (Eqs. 3-5), shared by the faithful purifier and our stronger variant."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from defenses.base import Needs, State
from defenses.kernels.prototypes import Projection, class_means, make_projection, prototype_loss
from defenses.support.server_training import ServerSet, ServerTraining
from fedcrucible_core.config import ConfigError
from fedcrucible_core.foundation.base import GuideTargets
from fedcrucible_core.learning.models.base import SplitModel

PREFIX = "projection."
"""Names of h's tensors in the state."""


class Contrast:
    """L1 + L2 of Eqs. 3-5 for one server set; ``refresh`` recomputes the extractor's prototypes."""

    def __init__(self, guide: GuideTargets, labels: Tensor, h: nn.Linear | None, tau: float, per_sample: bool) -> None:
        self.text, self.labels, self.h, self.tau = guide.text_embeddings, labels, h, tau
        means, _ = class_means(guide.embeddings, labels, len(self.text))
        self.targets = guide.embeddings if per_sample else F.normalize(means, dim=1)[labels]
        self.prototypes: Tensor = torch.zeros_like(self.text)
        self.present: Tensor = torch.zeros(len(self.text), dtype=torch.bool, device=labels.device)

    def project(self, features: Tensor) -> Tensor:
        """z = h(f(x)), ``[n, e]``."""
        if self.h is None:
            return features
        z: Tensor = self.h(features)
        return z

    @torch.no_grad()
    def refresh(self, features: Tensor) -> None:
        """Set e_{k,extractor}: the mean z of every class over the whole server set ``[m, feature_dim]``."""
        self.prototypes, self.present = class_means(self.project(features), self.labels, len(self.text))

    def loss(self, features: Tensor, rows: Tensor) -> Tensor:
        """Mean of L1 + L2 over the samples ``rows``, whose features are given."""
        z, labels = self.project(features), self.labels[rows]
        image_term = prototype_loss(z, self.targets[rows], self.prototypes, labels, self.tau, self.present)
        text_term = prototype_loss(z, self.text[labels], self.text, labels, self.tau)
        return (image_term + text_term).mean()


class Rectifier(ServerTraining):
    """Options and the phase of feature rectification (FR)."""

    state_kept: ClassVar[str] = "linear map h into the guide's space, [e, features] and [e], where FR is on"
    feature_rectification: bool = Field(True, description="Run feature rectification; false = no_FR ablation")
    fr_epochs: int = Field(1, ge=0, description="Epochs of feature rectification each round; 0 = off")
    tau: float = Field(0.1, gt=0.0, description="Temperature of the prototype loss")
    projection: Projection = Field(
        "linear", description="Map h from features to the guide's space: linear (trained), identity, frozen-orthogonal"
    )
    warm_start_epochs: int = Field(1, ge=0, description="Epochs that train h alone, the first time it is used")
    prototype: Literal["class-mean", "per-sample"] = Field(
        "class-mean", description="Image target e^I: the class's mean guide embedding, or the sample's own"
    )

    @property
    def needs(self) -> Needs:
        """The guide."""
        return Needs(guide=True)

    def check(self, model: SplitModel, guide: GuideTargets | None) -> None:
        """Raise ConfigError for ``projection = "identity"`` where the model's and the guide's dimensions differ."""
        if guide is None or not self.feature_rectification or self.projection != "identity":
            return
        guide_dim = guide.embeddings.shape[1]
        if model.feature_dim != guide_dim:
            allowed = f"needs equal dimensions; features have {model.feature_dim}, the guide {guide_dim}"
            raise ConfigError(f"purifier.{self.name}.projection", "identity", allowed)

    def rectify(
        self,
        model: SplitModel,
        server: ServerSet,
        rng: torch.Generator,
        state: State,
        view: Callable[[Tensor], Tensor] | None = None,
    ) -> tuple[dict[str, float], dict[str, Tensor]]:
        """Train the extractor f and the map h; the classifier isn't touched.

        The extractor's prototypes are recomputed, without gradient, at the start of every epoch.  ``view`` changes a
        batch of images before f sees it.  Returns facts ``fr_loss_first`` and ``fr_loss_last`` (mean loss of the first
        and last epoch), and h as named CPU tensors for the next round.
        """
        if not self.feature_rectification or self.fr_epochs == 0:
            return {}, dict(state)
        guide = server.require_guide()
        h = self._restore(state, model, guide.embeddings.shape[1], rng)
        contrast = Contrast(guide, server.data.labels, h, self.tau, self.prototype == "per-sample")
        trained = list(h.parameters()) if h is not None else []
        if self.projection == "linear" and not state:
            fixed = server.features(model)
            self.minimise(
                model,
                trained,
                lambda rows: contrast.loss(fixed[rows], rows),
                len(server),
                self.warm_start_epochs,
                rng,
                before_epoch=lambda: contrast.refresh(fixed),
            )

        def loss(rows: Tensor) -> Tensor:
            images = server.data.inputs[rows]
            return contrast.loss(model.embed(images if view is None else view(images)), rows)

        losses = self.minimise(
            model,
            [*model.features.parameters(), *trained],
            loss,
            len(server),
            self.fr_epochs,
            rng,
            before_epoch=lambda: contrast.refresh(server.features(model)),
        )
        return {"fr_loss_first": losses[0], "fr_loss_last": losses[-1]}, _save(h)

    def _restore(self, state: State, model: SplitModel, guide_dim: int, rng: torch.Generator) -> nn.Linear | None:
        """h of the last round, or a new one; on the model's device."""
        h = make_projection(self.projection, model.feature_dim, guide_dim, rng)
        if h is None:
            return None
        if state:
            saved = {name.removeprefix(PREFIX): tensor for name, tensor in state.items()}
            shapes = {name: tuple(tensor.shape) for name, tensor in saved.items()}
            expected = {name: tuple(tensor.shape) for name, tensor in h.state_dict().items()}
            if shapes != expected:
                raise ValueError(f"saved projection {shapes} doesn't fit this model and guide: expected {expected}")
            h.load_state_dict(saved)
        return h.to(next(model.parameters()).device)


def _save(h: nn.Linear | None) -> dict[str, Tensor]:
    return {} if h is None else {PREFIX + name: t.detach().to("cpu", copy=True) for name, t in h.state_dict().items()}
