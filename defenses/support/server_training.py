"""What all purifiers that train on the server's images share: options, and data on the device."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from defenses.base import Purified, Purifier, State
from fedcrucible_core.config import ConfigError
from fedcrucible_core.foundation.base import GuideTargets, ServerData
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.evaluation import embed, logits
from fedcrucible_core.learning.fit import batch_norm_mode, minimise
from fedcrucible_core.learning.models.base import SplitModel
from fedcrucible_core.learning.optimisers import OptimiserName

FORWARD_BATCH = 500
"""Images per forward pass without gradient."""


@dataclass(frozen=True)
class ServerSet:
    """The server's training set on the model's device, and the guide's view of it."""

    data: Labeled
    guide: GuideTargets | None
    clean: Tensor | None = None
    """Rows int64 that a splitter calls clean, copies of such originals included; on the CPU; None = nobody split."""
    triggered: Tensor | None = None
    """Rows that it calls triggered."""

    def __len__(self) -> int:
        return len(self.data)

    def features(self, model: SplitModel) -> Tensor:
        """Features ``[m, feature_dim]`` of the images, in eval mode, without gradient."""
        return embed(model, self.data.inputs, FORWARD_BATCH, self.data.inputs.device)

    def logits(self, model: SplitModel, first: int | None = None) -> Tensor:
        """Logits ``[m, C]`` of the images, or of the ``first`` of them, in eval mode, without gradient."""
        return logits(model, self.data.inputs[:first], FORWARD_BATCH, self.data.inputs.device)

    def require_guide(self) -> GuideTargets:
        """The guide's targets. Raises ConfigError when the run has no guide."""
        if self.guide is None:
            raise ConfigError("purifier.name", "guide", "this purifier needs the guide's targets, none were given")
        return self.guide


class ServerTraining(Purifier):
    """Training on the server's synthetic images; subclasses say what is minimised.

    Batch norm: ``eval`` keeps the running statistics (weights and biases of the layers still train); ``train``
    normalises by batch statistics and updates the running ones.  Dropout is always off.  A purifier that ends with a
    parameter, buffer or prediction that isn't finite is undone, and says so in the fact ``diverged``.
    """

    knowledge: ClassVar[tuple[str, ...]] = ("synthetic server images",)
    lr: float = Field(0.01, gt=0.0, description="Learning rate of the server's training")
    optimiser: OptimiserName = Field("sgd", description="Optimiser of the server's training: sgd, adam, adamw")
    momentum: float = Field(0.9, ge=0.0, lt=1.0, description="SGD momentum, fresh in every phase of every round")
    beta1: float = Field(0.9, ge=0.0, lt=1.0, description="Adam, AdamW: decay of the mean gradient")
    beta2: float = Field(0.999, ge=0.0, lt=1.0, description="Adam, AdamW: decay of the mean squared gradient")
    epsilon: float = Field(1e-8, gt=0.0, description="Adam, AdamW: added to the root of the mean squared gradient")
    weight_decay: float = Field(5e-4, ge=0.0, description="L2 weight decay; decoupled from the gradient in AdamW")
    batch_size: int = Field(64, ge=1, description="Images per batch")
    grad_clip: float = Field(5.0, ge=0.0, description="Largest gradient norm; 0 = no clipping")
    bn_mode: Literal["eval", "train"] = Field(
        "eval", description="Batch norm: eval keeps running statistics, train updates them"
    )
    use_augmented: bool = Field(True, description="Train on augmented copies too; false = generated originals only")

    def purify(
        self, model: SplitModel, data: ServerData, guide: GuideTargets | None, rng: torch.Generator, state: State
    ) -> Purified:
        """Run the phases on ``model`` in place; it's in eval mode afterwards, whatever happens."""
        before = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        server = self._server_set(model, data, guide)
        try:
            result = self.run_phases(model, server, rng, state)
        finally:
            model.eval()
        sample = server.logits(model, FORWARD_BATCH)  # weights can be finite and yet overflow
        if not all(
            bool(torch.isfinite(t).all()) for t in (sample, *model.state_dict().values(), *result.state.values())
        ):
            model.load_state_dict(before)
            return Purified({"diverged": 1.0}, dict(state))
        return Purified({**result.facts, "diverged": 0.0}, result.state)

    @abstractmethod
    def run_phases(self, model: SplitModel, server: ServerSet, rng: torch.Generator, state: State) -> Purified:
        """The purifier's own phases."""

    def minimise(
        self,
        model: SplitModel,
        parameters: Iterable[Tensor],
        loss: Callable[[Tensor], Tensor | None],
        rows: int,
        epochs: int,
        rng: torch.Generator,
        before_epoch: Callable[[], None] | None = None,
    ) -> list[float]:
        """The one loop over shuffled batches of ``rows`` samples; returns the mean loss of every epoch.

        ``loss`` maps row numbers int64 ``[b]`` (on the model's device) to a scalar mean loss, or to None where there is
        nothing to learn from them; ``before_epoch`` runs with the model in eval mode.  Only ``parameters`` change; no
        gradient is left behind.  A last batch of one sample joins the batch before it.
        """
        return minimise(
            parameters, loss, rows, self, rng, epochs=epochs, mode=partial(batch_norm_mode, model, self.bn_mode),
            clip=self.grad_clip, before_epoch=before_epoch,
        )  # fmt: skip

    def _server_set(self, model: SplitModel, data: ServerData, guide: GuideTargets | None) -> ServerSet:
        training = data.training_set()
        if guide is not None and len(guide.logits) != len(training):
            raise ValueError(f"the guide describes {len(guide.logits)} images, the server has {len(training)}")
        if guide is None and self.needs.guide:
            raise ConfigError("purifier.name", self.name, "needs the guide's targets, none were given")
        if len(training) == 0:
            raise ConfigError("purifier.name", self.name, "needs server images, there are none")
        m = len(training) if self.use_augmented else len(data.originals)
        device = next(model.parameters()).device
        layout = torch.channels_last if is_channels_last(model) else torch.contiguous_format
        if guide is not None:
            guide = replace(
                guide, embeddings=guide.embeddings[:m].to(device), text_embeddings=guide.text_embeddings.to(device),
                logits=guide.logits[:m].to(device),
            )  # fmt: skip
        inputs, labels = training.inputs[:m].to(device, memory_format=layout), training.labels[:m].to(device)
        clean, triggered = (_with_copies(rows, len(data.originals), m) for rows in (data.clean, data.triggered))
        return ServerSet(Labeled(inputs, labels), guide, clean, triggered)


def _with_copies(rows: Tensor | None, originals: int, used: int) -> Tensor | None:
    """Rows of originals, and of their augmented copies where ``used`` rows hold them too."""
    if rows is None:
        return None
    rows = rows.cpu()
    return rows if used == originals else torch.cat([rows, rows + originals])


def is_channels_last(model: nn.Module) -> bool:
    """True when a convolution of the model is stored channels-last only."""
    return any(
        p.ndim == 4 and p.is_contiguous(memory_format=torch.channels_last) and not p.is_contiguous()
        for p in model.parameters()
    )
