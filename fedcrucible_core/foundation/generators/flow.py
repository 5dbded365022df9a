"""A small class-conditional image generator: flow matching on a U-Net, with classifier-free guidance.

Along the straight path ``x_t = (1 - t) x_0 + t x_1`` from noise ``x_0 ~ N(0, I)`` to an image ``x_1`` the velocity is
``x_1 - x_0``. A network ``v(x_t, t, c)`` is fitted to it by least squares, and an image of class ``c`` is drawn by
following ``dx/dt = v`` from noise at ``t = 0`` to ``t = 1``. Guidance ``g`` follows ``v(x, t, none) + g (v(x, t, c) -
v(x, t, none))``; ``g = 1`` is the plain conditional flow and costs half as much.

References:
    lipman2023flow, "Flow Matching for Generative Modeling".
    liu2023rectified, "Flow Straight and Fast".
    Ho and Salimans, "Classifier-Free Diffusion Guidance", 2022.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from fedcrucible_core.config.text_files import read_text

Solver = Literal["euler", "heun", "multistep"]


@dataclass(frozen=True)
class FlowConfig:
    """Shape of the network, and how images are drawn from it unless the caller says otherwise."""

    image_size: int = 28
    channels: int = 1
    num_classes: int = 10
    width: int = 32
    """Feature maps at half the image's resolution."""
    middle_width: int = 96
    """Feature maps at a quarter of the image's resolution."""
    blocks: int = 1
    """Residual blocks on the way down and on the way up, each."""
    middle_blocks: int = 2
    """Residual blocks at the coarsest resolution."""
    embedding: int = 128
    heads: int = 4
    dropout: float = 0.0
    steps: int = 10
    guidance: float = 1.0
    solver: Solver = "multistep"


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with group norm; time and class scale and shift the features between them."""

    def __init__(self, c_in: int, c_out: int, embedding: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(8, c_in)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.film = nn.Linear(embedding, 2 * c_out)
        self.norm2 = nn.GroupNorm(8, c_out)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1)
        self.skip: nn.Module = nn.Conv2d(c_in, c_out, 1) if c_in != c_out else nn.Identity()
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Features ``[n, c_in, h, w]`` and condition ``[n, embedding]`` -> ``[n, c_out, h, w]``."""
        scale, shift = self.film(condition)[:, :, None, None].chunk(2, dim=1)
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.norm2(h) * (1 + scale) + shift
        h = self.conv2(self.dropout(F.silu(h)))
        return cast(Tensor, self.skip(x) + h)


class Attention(nn.Module):
    """Self-attention over the pixels of a small feature map."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(8, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Features ``[n, c, h, w]`` -> the same shape."""
        n, c, height, width = x.shape
        qkv = self.qkv(self.norm(x)).reshape(n, 3, self.heads, c // self.heads, height * width).transpose(-1, -2)
        mixed = F.scaled_dot_product_attention(qkv[:, 0], qkv[:, 1], qkv[:, 2])
        return cast(Tensor, x + self.out(mixed.transpose(-1, -2).reshape(n, c, height, width)))


class FlowUNet(nn.Module):
    """Velocity network ``v(x [n, C, H, W], t [n] in [0, 1], labels [n]) -> [n, C, H, W]``.

    The image is folded 2x2 into channels first, so all work happens at half and a quarter of its resolution: that is
    what keeps it quick on one CPU thread. The label ``num_classes`` stands for "no class".
    """

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        if config.image_size % 4:
            raise ValueError(f"image_size must be a multiple of 4, got {config.image_size}")
        self.config = config
        w, m, e, p = config.width, config.middle_width, config.embedding, config.dropout
        self.register_buffer("frequencies", torch.exp(torch.linspace(0, math.log(1000), e // 2)), persistent=False)
        self.time = nn.Sequential(nn.Linear(e, e), nn.SiLU(), nn.Linear(e, e))
        self.label = nn.Embedding(config.num_classes + 1, e)
        self.enter = nn.Conv2d(4 * config.channels, w, 3, padding=1)
        self.down = nn.ModuleList(ResidualBlock(w, w, e, p) for _ in range(config.blocks))
        self.shrink = nn.Conv2d(w, m, 3, stride=2, padding=1)
        self.middle = nn.ModuleList(ResidualBlock(m, m, e, p) for _ in range(config.middle_blocks))
        self.attention = nn.ModuleList(Attention(m, config.heads) for _ in range(config.middle_blocks))
        self.grow = nn.Conv2d(m, w, 3, padding=1)
        self.up = nn.ModuleList(ResidualBlock(2 * w, w, e, p) for _ in range(config.blocks))
        self.leave_norm = nn.GroupNorm(8, w)
        self.leave = nn.Conv2d(w, 4 * config.channels, 3, padding=1)
        nn.init.zeros_(self.leave.weight)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        """Velocity at ``x`` and time ``t`` for each label."""
        angles = t[:, None] * cast(Tensor, self.frequencies)
        condition = F.silu(self.time(torch.cat([angles.sin(), angles.cos()], dim=1)) + self.label(labels))
        h = self.enter(F.pixel_unshuffle(x, 2))
        skips: list[Tensor] = []
        for block in self.down:
            h = block(h, condition)
            skips.append(h)
        h = self.shrink(h)
        for block, attention in zip(self.middle, self.attention, strict=True):
            h = attention(block(h, condition))
        h = F.interpolate(self.grow(h), scale_factor=2.0, mode="nearest")
        for block in self.up:
            h = block(torch.cat([h, skips.pop()], dim=1), condition)
        return F.pixel_shuffle(self.leave(F.silu(self.leave_norm(h))), 2)


def flow_matching_loss(
    network: nn.Module, images: Tensor, labels: Tensor, noise: Tensor, t: Tensor, drop: Tensor, null_label: int
) -> Tensor:
    """Mean of ``|v(x_t, t, c) - (x_1 - x_0)|^2`` (lipman2023flow, eq. 23 with sigma_min = 0).

    Args:
        images: ``x_1``, ``[n, C, H, W]`` in [-1, 1].
        noise: ``x_0 ~ N(0, I)``, same shape.
        t: ``[n]`` in [0, 1].
        drop: ``[n]`` bool; where true the label is hidden, which trains the unconditional flow for guidance.
    """
    blend = t[:, None, None, None]
    seen = torch.where(drop, torch.full_like(labels, null_label), labels)
    velocity = network((1 - blend) * noise + blend * images, t, seen)
    return F.mse_loss(velocity, images - noise)


class FlowGenerator:
    """Draws labelled images from a trained velocity network."""

    def __init__(self, network: FlowUNet, device: torch.device | str = "cpu") -> None:
        self.config = network.config
        self.device = torch.device(device)
        self.network = network.to(self.device).to(memory_format=torch.channels_last).eval()
        self.network.requires_grad_(False)

    @classmethod
    def from_folder(cls, path: Path | str, device: torch.device | str = "cpu") -> FlowGenerator:
        """Load ``config.json`` and ``model.safetensors`` (float16 on disk, float32 in memory) from a folder."""
        folder = Path(path)
        config = FlowConfig(**json.loads(read_text(folder / "config.json")))
        network = FlowUNet(config)
        weights = load_file(folder / "model.safetensors")
        network.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
        return cls(network, device)

    def save(self, path: Path | str) -> None:
        """Write ``config.json`` and ``model.safetensors`` in float16; ``from_folder`` reads them back."""
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(asdict(self.config), indent=2) + "\n", encoding="utf-8")
        weights = {n: t.half().cpu().contiguous() for n, t in self.network.state_dict().items()}
        save_file(weights, folder / "model.safetensors")
        (folder / "model.safetensors").chmod(0o644)

    @torch.no_grad()
    def sample(
        self,
        labels: Tensor,
        generator: torch.Generator,
        steps: int | None = None,
        guidance: float | None = None,
        solver: Solver | None = None,
        batch_size: int = 50,
    ) -> Tensor:
        """Draw one image per label.

        All noise is drawn at once on the CPU, so an image depends on the generator's seed and its position alone, not
        on the batch size or (up to rounding) the device.

        Args:
            labels: ``[n]`` int64, classes in ``0 .. num_classes - 1``.
            generator: a CPU generator; it moves on by ``n * C * H * W`` normal draws.
            steps, guidance, solver: override the model's own settings. A step costs one network evaluation
                (``heun``: two); ``guidance != 1`` doubles it.

        Returns:
            ``[n, C, H, W]`` float32 in [0, 1], on the CPU.
        """
        if labels.ndim != 1 or labels.is_floating_point():
            raise ValueError(f"labels must be a vector of integers, got shape {tuple(labels.shape)}, {labels.dtype}")
        if len(labels) and (int(labels.min()) < 0 or int(labels.max()) >= self.config.num_classes):
            raise ValueError(f"labels must lie in 0..{self.config.num_classes - 1}")
        steps = self.config.steps if steps is None else steps
        guidance = self.config.guidance if guidance is None else guidance
        if steps < 1 or batch_size < 1:
            raise ValueError(f"steps and batch_size must be positive, got {steps} and {batch_size}")
        shape = (len(labels), self.config.channels, self.config.image_size, self.config.image_size)
        images = torch.randn(shape, generator=generator)
        for start in range(0, len(labels), batch_size):
            part = slice(start, start + batch_size)
            x = images[part].to(self.device, memory_format=torch.channels_last)
            x = self._integrate(x, labels[part].to(self.device), steps, guidance, solver or self.config.solver)
            images[part] = x.cpu()
        return ((images + 1) / 2).clamp_(0, 1)

    def _velocity(self, x: Tensor, t: float, labels: Tensor, guidance: float) -> Tensor:
        if guidance == 1:
            return cast(Tensor, self.network(x, torch.full((len(x),), t, device=x.device), labels))
        both = torch.cat([labels, torch.full_like(labels, self.config.num_classes)])
        times = torch.full((len(both),), t, device=x.device)
        conditional, unconditional = self.network(torch.cat([x, x]), times, both).chunk(2)
        return cast(Tensor, unconditional + guidance * (conditional - unconditional))

    def _integrate(self, x: Tensor, labels: Tensor, steps: int, guidance: float, solver: Solver) -> Tensor:
        """Follow the flow from ``t = 0`` to ``t = 1`` in equal steps."""
        h = 1.0 / steps
        previous: Tensor | None = None
        for k in range(steps):
            v = self._velocity(x, k * h, labels, guidance)
            if solver == "heun":
                slope = (v + self._velocity(x + h * v, (k + 1) * h, labels, guidance)) / 2
            elif solver == "multistep" and previous is not None:
                slope = 1.5 * v - 0.5 * previous  # Adams-Bashforth: second order at the price of Euler
            else:
                slope = v
            x, previous = x + h * slope, v
        return x
