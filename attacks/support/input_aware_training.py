"""How the input-aware attack's mask network, generator and in-loop classifier are trained."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attacks.support.input_aware import Translator, density_excess, distance, diversity, put_on, sharpened
from attacks.support.trained import Fit, percent
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.fit import batch_bounds, minimise
from fedcrucible_core.learning.models.base import SplitModel
from fedcrucible_core.learning.optimisers import SGD, Adam, make_optimiser

DENSITY_WEIGHT = 100.0


@dataclass(frozen=True)
class JointSettings:
    """How the generator and the classifier are trained together."""

    target: int
    epochs: int
    batch_size: int
    lr: float
    poison: float
    """Share (fraction) of a batch that gets its own pattern and the target label; as many get another image's pattern
    and keep their labels, times ``cross_ratio``."""
    cross_ratio: float
    diversity: float
    accumulate: bool
    """True: the generator's gradients are never zeroed, as in public code."""


def train_mask(
    mask: Translator, first: nn.Module, images: Tensor, fit: Fit, epochs: int, density: float, rng: torch.Generator
) -> None:
    """100 * mean(max(M(x) - density, 0)) + the diversity of masks, over pairs of images; ends in eval mode."""

    def loss(rows: Tensor) -> Tensor:
        x, others = images[rows], images[_shifted(rows, len(images), rng)]
        a, b = sharpened(mask(x)), sharpened(mask(others))
        return DENSITY_WEIGHT * density_excess(a, density) + diversity(first(x), first(others), a, b)

    if epochs:
        mask.train()
        minimise(mask.parameters(), loss, len(images), fit, rng, epochs=epochs)
    mask.eval()


@dataclass
class Joint:
    """Generator, frozen mask network and classifier."""

    generator: Translator
    mask: Translator
    victim: SplitModel

    @torch.no_grad()
    def _mask(self, x: Tensor) -> Tensor:
        return sharpened(self.mask(x))

    def loss(self, x: Tensor, y: Tensor, others: Tensor, settings: JointSettings, rng: torch.Generator) -> Tensor:
        """Cross-entropy of a batch, part of it triggered, plus the diversity of the patterns.

        ``others`` holds another image for each of ``x``.  Images of the target class are never triggered.
        """
        open_rows = (y != settings.target).nonzero().flatten()
        open_rows = open_rows[torch.randperm(len(open_rows), generator=rng)]
        count = min(max(1, math.floor(settings.poison * len(x) + 0.5)), len(open_rows))
        own = open_rows[:count]
        cross = open_rows[count : count + math.floor(settings.cross_ratio * count + 0.5)]
        used = torch.cat([own, cross])
        a, b = self.generator(x[used]), self.generator(others[used])
        inputs = x.clone()
        inputs[own] = put_on(x[own], a[: len(own)], self._mask(x[own]))
        inputs[cross] = put_on(x[cross], b[len(own) :], self._mask(others[cross]))
        labels = y.index_fill(0, own, settings.target)
        first = self.victim.first
        far = diversity(first(x[used]), first(others[used]), first(a), first(b)) if len(used) else inputs.sum() * 0.0
        return F.cross_entropy(self.victim(inputs), labels) + settings.diversity * far

    def train(self, data: Labeled, settings: JointSettings, rng: torch.Generator) -> None:
        """Both at once, each with an optimiser of its own: the generator Adam (.5, .9), the classifier SGD .01.

        Ends in eval mode.
        """
        of_generator = make_optimiser(
            self.generator.parameters(), Fit(settings.batch_size, settings.lr, beta1=0.5, beta2=0.9)
        )
        of_victim = SGD(self.victim.parameters(), 0.01, 0.9, 5e-4)
        assert isinstance(of_generator, Adam)
        self.generator.train()
        self.victim.train()
        for _ in range(settings.epochs):
            order = torch.randperm(len(data), generator=rng)
            for start, stop in batch_bounds(len(data), settings.batch_size):
                rows = order[start:stop]
                others = data.inputs[_shifted(rows, len(data), rng)]
                of_victim.zero_grad()
                if not settings.accumulate:
                    of_generator.zero_grad()
                torch.autograd.backward(self.loss(data.inputs[rows], data.labels[rows], others, settings, rng))
                of_generator.step()
                of_victim.step()
        self.generator.eval()
        self.victim.eval()
        of_generator.zero_grad()

    @torch.no_grad()
    def measured(self, data: Labeled, target: int) -> dict[str, float]:
        """Of the classifier trained in the loop, on held-out images: accuracy, ASR without and with the target class,
        accuracy under another image's pattern, and the mean of the mask; all but the last in percent."""
        x, y = data.inputs, data.labels
        others = x.roll(1, 0)
        said = self.victim(put_on(x, self.generator(x), self._mask(x))).argmax(1)
        crossed = self.victim(put_on(x, self.generator(others), self._mask(others))).argmax(1)
        wanted = torch.full_like(y, target)
        found = {
            "in_loop_accuracy_percent": percent(self.victim(x).argmax(1), y),
            "in_loop_asr_percent": percent(said[y != target], wanted[y != target]),
            "in_loop_asr_with_target_class_percent": percent(said, wanted),
            "in_loop_cross_accuracy_percent": percent(crossed, y),
            "mask_mean": float(self._mask(x).mean()),
            "pattern_distance": float(distance(self.generator(x), self.generator(others)).mean()),
        }
        return {name: round(value, 4) for name, value in found.items()}


def _shifted(rows: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """For each row another one of ``count``; itself where there is only one."""
    return (rows + 1 + torch.randint(0, max(count - 1, 1), rows.shape, generator=rng)) % count
