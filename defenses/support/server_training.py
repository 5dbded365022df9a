"""What all purifiers that train on the server's images share: options, data on the device, one SGD loop."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from defenses.base import Purified, Purifier, State
from fedcrucible_core.config import ConfigError
from fedcrucible_core.foundation.base import GuideTargets, ServerData
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.models.base import SplitModel
from fedcrucible_core.learning.sgd import SGD
from fedcrucible_core.learning.training import batch_bounds

BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
FORWARD_BATCH = 500
"""Images per forward pass without gradient."""


@dataclass(frozen=True)
class ServerSet:
    """The server's training set on the model's device, and the guide's view of it."""

    data: Labeled
    guide: GuideTargets | None

    def __len__(self) -> int:
        return len(self.data)

    def require_guide(self) -> GuideTargets:
        """The guide's targets. Raises ConfigError when the run has no guide."""
        if self.guide is None:
            raise ConfigError("purifier.name", "guide", "this purifier needs the guide's targets, none were given")
        return self.guide


class ServerTraining(Purifier):
    """SGD on the server's synthetic images; subclasses say what is minimised.

    Batch norm: ``eval`` keeps the running statistics (weights and biases of the layers still train); ``train``
    normalises by batch statistics and updates the running ones.  Dropout is always off.  A purifier that ends with a
    parameter, buffer or prediction that isn't finite is undone, and says so in the fact ``diverged``.
    """

    knowledge: ClassVar[tuple[str, ...]] = ("synthetic server images",)
    lr: float = Field(0.01, gt=0.0, description="Learning rate of the server's SGD")
    momentum: float = Field(0.9, ge=0.0, lt=1.0, description="SGD momentum, fresh in every phase of every round")
    weight_decay: float = Field(5e-4, ge=0.0, description="L2 weight decay")
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
        sample = logits_all(model, server.data.inputs[:FORWARD_BATCH])  # weights can be finite and yet overflow
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
        loss: Callable[[Tensor], Tensor],
        rows: int,
        epochs: int,
        rng: torch.Generator,
        before_epoch: Callable[[], None] | None = None,
    ) -> list[float]:
        """SGD over shuffled batches of ``rows`` samples; returns the mean loss of every epoch.

        ``loss`` maps row numbers int64 ``[b]`` (on the model's device) to a scalar mean loss; ``before_epoch`` runs
        with the model in eval mode.  Only ``parameters`` change; no gradient is left behind.  A last batch of one
        sample joins the batch before it.
        """
        chosen = [p for p in parameters if p.requires_grad]
        if not chosen:
            raise ValueError("nothing to train: no parameter of this phase requires a gradient")
        device = chosen[0].device
        optimiser = SGD(chosen, self.lr, self.momentum, self.weight_decay)
        losses = []
        for _ in range(epochs):
            if before_epoch is not None:
                before_epoch()
            order = torch.randperm(rows, generator=rng).to(device)
            total = torch.zeros((), device=device)
            with batch_norm_mode(model, self.bn_mode):
                for start, stop in batch_bounds(rows, self.batch_size):
                    value = loss(order[start:stop])
                    gradients = torch.autograd.grad(value, chosen, allow_unused=True)  # touches no other parameter
                    for parameter, gradient in zip(chosen, gradients, strict=True):
                        parameter.grad = gradient
                    if self.grad_clip > 0.0:
                        nn.utils.clip_grad_norm_(chosen, self.grad_clip)
                    optimiser.step()
                    total += value.detach() * (stop - start)
            losses.append(float(total) / rows)
        optimiser.zero_grad()
        return losses

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
            guide = GuideTargets(
                guide.image_embeddings[:m].to(device), guide.text_embeddings.to(device), guide.logits[:m].to(device)
            )
        inputs, labels = training.inputs[:m].to(device, memory_format=layout), training.labels[:m].to(device)
        return ServerSet(Labeled(inputs, labels), guide)


@contextlib.contextmanager
def batch_norm_mode(model: nn.Module, mode: str) -> Iterator[None]:
    """Eval mode for the whole model; with ``mode = "train"`` its batch-norm layers are in training mode inside."""
    model.eval()
    if mode == "train":
        for module in model.modules():
            if isinstance(module, BATCH_NORM):
                module.train()
    try:
        yield
    finally:
        model.eval()


def is_channels_last(model: nn.Module) -> bool:
    """True when a convolution of the model is stored channels-last only."""
    return any(
        p.ndim == 4 and p.is_contiguous(memory_format=torch.channels_last) and not p.is_contiguous()
        for p in model.parameters()
    )


@torch.no_grad()
def embed_all(model: SplitModel, images: Tensor) -> Tensor:
    """Features ``[m, feature_dim]`` of images on the model's device, in eval mode, without gradient."""
    model.eval()
    return torch.cat([model.embed(images[i : i + FORWARD_BATCH]) for i in range(0, len(images), FORWARD_BATCH)])


@torch.no_grad()
def logits_all(model: SplitModel, images: Tensor) -> Tensor:
    """Logits ``[m, C]`` of images on the model's device, in eval mode, without gradient."""
    model.eval()
    return torch.cat([model(images[i : i + FORWARD_BATCH]) for i in range(0, len(images), FORWARD_BATCH)])
