"""SSBA: a hidden bit string, written by an encoder into every image in another way."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from attacks.artefact import Artefact
from attacks.poisoner import POISONERS, PoisonContext, Poisoner
from attacks.support.steganography import Decoder, Encoder
from attacks.support.trained import Fit, drawn_images, grey_levels, percent, restored, seeded, weights_of
from attacks.task import AttackTask
from fedcrucible_core.learning.fit import minimise

ENCODER, KEY = "encoder", "key"


@POISONERS.register("ssba")
class Ssba(Poisoner):
    """Sample-specific residual that hides one secret key, the same key in every image; label -> target.

    An encoder E and a decoder D are trained together: D shall read random bits back from x' = clip(x + s * E(x, bits))
    with E in (-1, 1) and s = strength / 255: mean over batches of BCE(D(x'), bits) + image_weight * r * MSE(x', x),
    where r is 0 for ``ramp_start`` steps and then rises to 1 over ``ramp_steps``.  Then D is forgotten, a key is drawn
    once, and x' is rounded to whole grey levels.  The residual follows from the picture, so no two are alike.

    The record's notes say how many bits D reads back from rounded pictures it wasn't trained on, and PSNR in dB.
    """

    paper = (("li2021ssba", "reduced"), ("tancik2020stegastamp", "losses, reduced"))
    choices = ("small-steganography",)
    knowledge = ("training images of all clients, unlabelled",)
    cost = "one small U-Net pass per image; training it takes about a minute on one core for 10,000 grey images"
    traps = ("rounded to grey levels, or the trigger would not survive a file", "one key for training and test")
    bits: int = Field(16, ge=1, le=256, description="Length of the key in bits")
    strength: float = Field(8.0, gt=0.0, le=255.0, description="Largest change of a pixel, grey levels of 255")
    epochs: int = Field(4, ge=1, le=10_000, description="Passes over the images that train the encoder")
    samples: int = Field(10_000, ge=2, description="Training images the encoder is trained on")
    batch_size: int = Field(64, ge=2, description="Images per step")
    lr: float = Field(2e-3, gt=0.0, description="Learning rate (Adam)")
    image_weight: float = Field(20.0, ge=0.0, description="Weight of the squared change once it has risen")
    ramp_start: int = Field(150, ge=0, description="Steps before the change counts at all")
    ramp_steps: int = Field(300, ge=1, description="Steps over which its weight rises")

    def prepare(self, task: AttackTask, rng: torch.Generator) -> Artefact:
        """The encoder's weights and the key float32 ``[bits]``; facts: bits read back (percent), PSNR (dB)."""
        shape = task.info.image_shape
        encoder = seeded(lambda: Encoder(shape, self.bits), rng)
        decoder = seeded(lambda: Decoder(shape, self.bits), rng)
        images, others = drawn_images(task, self.samples, rng)
        self._train(encoder, decoder, images.inputs, rng)
        key = torch.randint(2, (self.bits,), generator=rng).float()
        tensors = {**weights_of(encoder, ENCODER), KEY: key}
        return Artefact(tensors, self._facts(encoder.eval(), decoder.eval(), others.inputs, rng))

    def stamp(self, x: Tensor, y: Tensor, ctx: PoisonContext) -> Tensor:
        """Hide the key in images ``[n, C, H, W]`` in [0, 1]; a new tensor of whole grey levels."""
        shape = ctx.task.info.image_shape
        encoder = restored(lambda: Encoder(shape, self.bits), ctx.artefact, ENCODER).to(x.device)
        key = ctx.artefact.tensors[KEY].to(x).expand(len(x), -1)
        return grey_levels(self._hidden(encoder, x, key))

    def _hidden(self, encoder: Encoder, x: Tensor, bits: Tensor) -> Tensor:
        residual: Tensor = encoder(x, bits)
        return (x + self.strength / 255.0 * residual).clamp(0.0, 1.0)

    def image_weight_at(self, step: int) -> float:
        """Weight of the squared change at a step, counted from 0."""
        return self.image_weight * min(1.0, max(0.0, (step - self.ramp_start) / self.ramp_steps))

    def _train(self, encoder: Encoder, decoder: Decoder, images: Tensor, rng: torch.Generator) -> None:
        both, step = nn.ModuleList([encoder, decoder]), 0

        def loss(rows: Tensor) -> Tensor:
            nonlocal step
            x, weight = images[rows], self.image_weight_at(step)
            step += 1
            bits = torch.randint(2, (len(rows), self.bits), generator=rng).float()
            hidden = self._hidden(encoder, x, bits)
            return F.binary_cross_entropy_with_logits(decoder(hidden), bits) + weight * F.mse_loss(hidden, x)

        minimise(both.parameters(), loss, len(images), Fit(self.batch_size, self.lr), rng, epochs=self.epochs)

    @torch.no_grad()
    def _facts(self, encoder: Encoder, decoder: Decoder, images: Tensor, rng: torch.Generator) -> dict[str, float]:
        bits = torch.randint(2, (len(images), self.bits), generator=rng).float()
        hidden = grey_levels(self._hidden(encoder, images, bits))
        read = percent((decoder(hidden) > 0).flatten(), bits.bool().flatten())
        error = max(float(F.mse_loss(hidden, images)), 1e-12)
        return {"bits_read_back_percent": round(read, 3), "psnr_db": round(-10.0 * math.log10(error), 3)}
