"""A small class-conditional InfoGAN: a generator with a code c in (-1, 1), a critic, and a head that reads the code."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attacks.support.trained import Fit
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.fit import batch_bounds
from fedcrucible_core.learning.optimisers import Optimiser, make_optimiser

NOISE = 32


class ConditionalNorm(nn.Module):
    """Batch normalisation whose scale and shift depend on the class."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.scale = nn.Embedding(classes, channels)
        self.shift = nn.Embedding(classes, channels)
        nn.init.ones_(self.scale.weight)
        nn.init.zeros_(self.shift.weight)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Normalised ``[n, channels, h, w]`` of classes int64 ``[n]``."""
        normalised: Tensor = self.norm(x)
        scale: Tensor = self.scale(y)
        shift: Tensor = self.shift(y)
        return normalised * scale[:, :, None, None] + shift[:, :, None, None]


class Generator(nn.Module):
    """Images in (0, 1) from noise ``[n, 32]``, codes ``[n, 1]`` and classes ``[n]``."""

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        channels, height, width = shape
        self.size = height, width
        self.coarse = math.ceil(height / 4), math.ceil(width / 4)
        self.first = nn.Linear(NOISE + 1, 32 * self.coarse[0] * self.coarse[1])
        self.inner = nn.Conv2d(32, 32, 3, padding=1)
        self.outer = nn.Conv2d(32, 16, 3, padding=1)
        self.norms = nn.ModuleList(
            [ConditionalNorm(32, classes), ConditionalNorm(32, classes), ConditionalNorm(16, classes)]
        )
        self.last = nn.Conv2d(16, channels, 3, padding=1)

    def forward(self, noise: Tensor, code: Tensor, y: Tensor) -> Tensor:
        """Images ``[n, C, H, W]``."""
        h = self.first(torch.cat([noise, code], 1)).view(len(noise), 32, *self.coarse)
        h = F.interpolate(F.relu(self.norms[0](h, y)), scale_factor=2.0)
        h = F.interpolate(F.relu(self.norms[1](self.inner(h), y)), size=self.size)
        made: Tensor = self.last(F.relu(self.norms[2](self.outer(h), y)))
        return torch.sigmoid(made)


class Critic(nn.Module):
    """Real or made, given the class (projection), and the code's mean; one trunk without batch norm for both."""

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        channels, height, width = shape
        flat = 32 * math.ceil(height / 4) * math.ceil(width / 4)
        self.trunk = nn.Sequential(
            nn.Conv2d(channels, 16, 3, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(flat, 16),
            nn.LeakyReLU(0.2),
        )
        self.real = nn.Linear(16, 1)
        self.of_class = nn.Embedding(classes, 16)
        self.code_mean = nn.Linear(16, 1)
        self.code_log_variance = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Logit that images are real ``[n]``, and the mean of their code ``[n]``."""
        h = self.trunk(x)
        real = self.real(h).flatten() + (h * self.of_class(y)).sum(1)
        return real, self.code_mean(h).flatten()

    def code(self, x: Tensor) -> Tensor:
        """The mean of the code of images ``[n, C, H, W]``, whatever their class: ``[n]``."""
        mean: Tensor = self.code_mean(self.trunk(x))
        return mean.flatten()

    def code_loss(self, said: Tensor, code: Tensor) -> Tensor:
        """Gaussian negative log-likelihood of codes ``[n]``, without its constant."""
        log_variance = self.code_log_variance.clamp(-6.0, 6.0)
        return 0.5 * (log_variance + (said - code).pow(2) / log_variance.exp()).mean()


@dataclass
class InfoGan:
    """Generator and critic, trained in turn."""

    generator: Generator
    critic: Critic
    code_weight: float = 1.0

    def train(self, data: Labeled, fit: Fit, epochs: int, rng: torch.Generator) -> None:
        """Non-saturating adversarial losses plus ``code_weight`` times the code's loss, for both; ends in eval mode."""
        of_generator = make_optimiser(self.generator.parameters(), fit)
        of_critic = make_optimiser(self.critic.parameters(), fit)
        self.generator.train()
        for _ in range(epochs):
            order = torch.randperm(len(data), generator=rng)
            for start, stop in batch_bounds(len(data), fit.batch_size):
                self._step(data.subset(order[start:stop]), of_generator, of_critic, rng)
        for optimiser in (of_generator, of_critic):
            optimiser.zero_grad()
        self.generator.eval()
        self.critic.eval()

    def _step(self, real: Labeled, of_generator: Optimiser, of_critic: Optimiser, rng: torch.Generator) -> None:
        noise = torch.randn(len(real), NOISE, generator=rng)
        code = torch.rand(len(real), 1, generator=rng) * 2.0 - 1.0
        made, y = self.generator(noise, code, real.labels), real.labels
        of_critic.zero_grad()
        on_real, _ = self.critic(real.inputs, y)
        on_made, said = self.critic(made.detach(), y)
        loss = F.softplus(-on_real).mean() + F.softplus(on_made).mean()
        torch.autograd.backward(loss + self.code_weight * self.critic.code_loss(said, code.flatten()))
        of_critic.step()
        of_generator.zero_grad()
        on_made, said = self.critic(made, y)
        loss = F.softplus(-on_made).mean() + self.code_weight * self.critic.code_loss(said, code.flatten())
        torch.autograd.backward(loss, inputs=list(self.generator.parameters()))
        of_generator.step()
