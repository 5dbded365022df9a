"""Blend: a faint image over the whole picture."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor

from attacks.poisoner import POISONERS, PoisonContext, Poisoner
from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.rng import torch_generator


@POISONERS.register("blend")
class Blend(Poisoner):
    """x' = (1 - a) * x + a * k with a fixed image k (the key) and opacity a; label -> target.

    The key is noise, uniform in [0, 1] for every pixel and channel and drawn from ``seed`` alone, so that no picture
    has to travel; or a picture file, of which the middle part of the image's proportions is taken and resized.  In a
    deployment every machine needs the same file.
    """

    paper = (("chen2017blend", "blended injection"), ("wu2022backdoorbench", "a = 0.2"))
    choices = ("blend-key",)
    cost = "one blend per image"
    alpha: float = Field(0.2, ge=0.0, le=1.0, description="Opacity (fraction) of the key; 0 = invisible")
    seed: int = Field(0, ge=0, le=2**31 - 1, description="Seed of the noise key; not the run's seed")
    image: str = Field("", description="Picture file used as the key; empty = the noise key")

    def key(self, shape: tuple[int, int, int]) -> Tensor:
        """The key for images of this shape, float32 ``[C, H, W]`` in [0, 1].

        Raises:
            ConfigError: ``image`` is no readable picture.
        """
        if self.image:
            return _picture(self.image, shape)
        return torch.rand(shape, generator=torch_generator(self.seed, "blend-key"))

    def stamp(self, x: Tensor, y: Tensor, ctx: PoisonContext) -> Tensor:
        """Lay the key over images ``[n, C, H, W]`` in [0, 1]; returns a new tensor."""
        key = self.key((x.shape[1], x.shape[2], x.shape[3])).to(x)
        return x * (1.0 - self.alpha) + self.alpha * key


@lru_cache(maxsize=4)
def _picture(path: str, shape: tuple[int, int, int]) -> Tensor:
    from fedcrucible_core.foundation.pixels import fit  # decoders of pictures: only where one is used
    from fedcrucible_core.foundation.sources.pictures import decode_picture

    try:
        return fit(decode_picture(Path(path).expanduser(), shape[0])[None], shape)[0]
    except ValueError as error:
        raise ConfigError("attack.blend.image", path, f"{error}; allowed: a picture file") from error
