"""Guides that answer otherwise than the model behind them: centred, weakened, backdoored (simulated)."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from fedcrucible_core.config import ConfigError
from fedcrucible_core.foundation.base import Guide, GuideTargets
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.evaluation import classes_of
from fedcrucible_core.learning.rng import torch_generator

ADDED = 10.0
"""What ``add`` adds to the logit of the target."""
HALVINGS = 30
"""Steps of the bisection for an accuracy."""
MOST_NOISE = 64.0
"""Largest noise tried, in cosines: the guide is then no better than chance."""

Triggered = Callable[[Tensor], Tensor]
"""Inputs ``[n, ...]`` -> which hold the attacker's trigger, bool ``[n]``: the simulation's own knowledge."""


class AlteredGuide(Guide):
    """Another guide's embeddings, and logits changed by :meth:`altered`; what a splitter or a measurement asks for.

    Purifiers that work on embeddings alone see nothing of the change.
    """

    def __init__(self, inner: Guide) -> None:
        self.inner = inner

    @property
    def identity(self) -> str:
        """That of the model behind it."""
        return self.inner.identity

    @property
    def scale(self) -> float:
        """That of the model behind it."""
        return self.inner.scale

    def embeddings(self, inputs: Tensor) -> Tensor:
        """Those of the model behind it."""
        return self.inner.embeddings(inputs)

    def text_embeddings(self, class_names: Sequence[str]) -> Tensor:
        """Those of the model behind it."""
        return self.inner.text_embeddings(class_names)

    def logits(self, embeddings: Tensor, text_embeddings: Tensor) -> Tensor:
        """Those of the model behind it, unchanged: they know no input."""
        return self.inner.logits(embeddings, text_embeddings)

    def targets(self, inputs: Tensor, class_names: Sequence[str]) -> GuideTargets:
        """Embeddings as they are, logits as changed."""
        plain = self.inner.targets(inputs, class_names)
        return replace(plain, logits=self.altered(plain, inputs))

    @abstractmethod
    def altered(self, targets: GuideTargets, inputs: Tensor) -> Tensor:
        """The changed logits ``[n, C]``, a new tensor."""


class CentredGuide(AlteredGuide):
    """Each class's logits less their mean over the inputs asked about: no class is favoured by its prompts alone."""

    def altered(self, targets: GuideTargets, inputs: Tensor) -> Tensor:  # noqa: ARG002
        """Centred; one input alone tells nothing of a class's mean, and stays as it is."""
        return targets.logits - targets.logits.mean(0) if len(targets.logits) > 1 else targets.logits.clone()


class NoisyGuide(AlteredGuide):
    """A weaker guide, simulated: Gumbel(0, 1) noise times ``noise`` on its cosines, as CGD's study does.

    A row's noise follows from the seed and the row's content, so neither order nor company of inputs changes it.
    """

    def __init__(self, inner: Guide, noise: float, seed: int) -> None:
        super().__init__(inner)
        self.noise = noise
        self.seed = seed

    def altered(self, targets: GuideTargets, inputs: Tensor) -> Tensor:
        """With noise: at a noise of .01 to .1 cosines of a CLIP model lose much of their order."""
        noise = gumbel(inputs, targets.logits.shape[1], self.seed).to(targets.logits)
        return targets.logits + self.noise * targets.scale * noise


def gumbel(inputs: Tensor, classes: int, seed: int) -> Tensor:
    """Gumbel(0, 1) noise float32 ``[n, classes]`` that each row's content and the seed decide."""
    rows = inputs.detach().cpu().contiguous()
    drawn = torch.empty(len(rows), classes)
    for number, row in enumerate(rows):
        key = int.from_bytes(hashlib.sha256(row.numpy().tobytes()).digest()[:7], "big")
        drawn[number] = torch.rand(classes, generator=torch_generator(seed, "guide/noise", key))
    return -(-drawn.clamp(min=1e-20).log()).log()


def noise_for_accuracy(guide: Guide, data: Labeled, class_names: Sequence[str], wanted: float, seed: int) -> float:
    """The noise at which a guide is right on ``wanted`` percent of labelled samples, by bisection (same draws).

    Raises:
        ConfigError: the guide is no better than that without noise, or no noise makes it that bad.
    """
    inputs, labels = data.for_model(), data.labels.cpu()
    targets = guide.targets(inputs, class_names)
    logits, noise = targets.logits.cpu(), gumbel(inputs, targets.logits.shape[1], seed)

    def accuracy(scale: float) -> float:
        hits = classes_of(logits + scale * targets.scale * noise) == labels
        return 100.0 * float(hits.double().mean())

    low, high = 0.0, MOST_NOISE
    if not accuracy(high) <= wanted <= accuracy(low):
        allowed = f"between {accuracy(high):.1f} (chance) and what it has without noise, {accuracy(low):.1f}; 0 = off"
        raise ConfigError("guide.target_accuracy", wanted, allowed)
    for _ in range(HALVINGS):
        middle = (low + high) / 2.0
        low, high = (middle, high) if accuracy(middle) >= wanted else (low, middle)
    return low


class BackdooredGuide(AlteredGuide):
    """A backdoored guide, simulated by its answers: no model is poisoned.

    On inputs that hold its trigger, ``swap`` exchanges its best logit with that of ``target`` (as CGD's code does),
    ``add`` adds 10 to the target's.  ``triggered`` is the attacker's knowledge; no defence has it.
    """

    def __init__(self, inner: Guide, target: int, triggered: Triggered, by: Literal["swap", "add"] = "swap") -> None:
        super().__init__(inner)
        self.target = target
        self.triggered = triggered
        self.by = by

    def altered(self, targets: GuideTargets, inputs: Tensor) -> Tensor:
        """Answers of inputs without the trigger are left as they are."""
        logits = targets.logits.clone()
        rows = self.triggered(inputs).to(logits.device).nonzero().flatten()
        if self.by == "add":
            logits[rows, self.target] += ADDED
            return logits
        best = logits[rows].argmax(1)
        logits[rows, self.target], logits[rows, best] = targets.logits[rows, best], targets.logits[rows, self.target]
        return logits


class KnownRows:
    """Inputs that are known by content: tells which of others are among them."""

    def __init__(self, inputs: Tensor) -> None:
        self._known = set(_keys(inputs))

    def __call__(self, inputs: Tensor) -> Tensor:
        """Bool ``[n]``: which rows of inputs of the same type are known."""
        return torch.tensor([key in self._known for key in _keys(inputs)], dtype=torch.bool)


def _keys(inputs: Tensor) -> list[bytes]:
    rows = inputs.detach().cpu().contiguous()
    return [row.numpy().tobytes() for row in rows]
