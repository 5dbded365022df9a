"""Frequency-sensitivity augmentation: noise in the frequency band that visible triggers disturb most.

The spectrum is cut into K bands along its main diagonal by ``s(u, v) = (u + v) / (2N)`` at ``2^-(K-k)``; band k's
sensitivity to a trigger is ``m_k``, the mean square of the spectrum's change inside it; Gaussian noise goes to the
band with the largest ``m_k``.

Source: CLIP-Fed (gai2025clipfed), Frequency Sensitivity-guided Image Augmentation; what it leaves open is in
docs/choices.md: frequency-bands, band-average, imagined-trigger, band-noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.sections import SyntheticSection
from fedcrucible_core.foundation.patches import random_patches

Averaging = Literal["image", "band"]
CHUNK = 1024
"""Images whose spectra are held at once."""


@lru_cache(maxsize=16)
def _cosines(n: int) -> Tensor:
    k, i = torch.arange(n, dtype=torch.float64)[:, None], torch.arange(n, dtype=torch.float64)[None, :]
    matrix = torch.cos(math.pi * (2 * i + 1) * k / (2 * n)) * math.sqrt(2.0 / n)
    matrix[0] /= math.sqrt(2.0)
    return matrix


def dct2(x: Tensor) -> Tensor:
    """Orthonormal 2-D DCT-II of the last two axes of ``[..., H, W]``: ``A_H x A_W^T``."""
    return _cosines(x.shape[-2]).to(x) @ x @ _cosines(x.shape[-1]).to(x).T


def idct2(spectrum: Tensor) -> Tensor:
    """Inverse of :func:`dct2`: ``A_H^T F A_W``."""
    return _cosines(spectrum.shape[-2]).to(spectrum).T @ spectrum @ _cosines(spectrum.shape[-1]).to(spectrum)


@lru_cache(maxsize=64)
def band_masks(n: int, bands: int) -> Tensor:
    """Which cells of an N x N spectrum belong to which band: bool ``[K, N, N]``, disjoint, covering.

    ``B_1 = {s < 2^-(K-1)}`` and ``B_k = {2^-(K-k+1) <= s < 2^-(K-k)}`` with ``s = (u + v) / (2N)``. For N = 32 and
    K = 4 the bands hold 36, 100, 392 and 496 cells. The returned tensor is shared: do not write to it.

    Raises:
        ConfigError: so many bands that one is empty.
    """
    total = torch.arange(n)[:, None] + torch.arange(n)[None, :]
    band = torch.zeros(n, n, dtype=torch.int64)
    for k in range(1, bands):  # cut k lies at 2^-(K-k); whole numbers keep the comparison exact
        band += total * 2 ** (bands - k) >= 2 * n
    masks = band[None] == torch.arange(bands)[:, None, None]
    if not masks.any(dim=(1, 2)).all():
        raise ConfigError("synthetic.bands", bands, f"leaves an empty band for {n} x {n} images: use fewer bands")
    return masks


def band_energies(difference: Tensor, bands: int) -> Tensor:
    """Squared change of the spectrum in each band, mean over channels: ``[n, C, N, N] -> [n, K]``.

    ``difference`` is ``x - xbar`` in pixels; the transform is linear and orthonormal, so the K values sum to the
    channel mean of its pixel energy.
    """
    masks = band_masks(difference.shape[-1], bands).to(difference.device)
    power = dct2(difference).square().mean(dim=1).flatten(1)
    return power @ masks.flatten(1).to(power).T


def sensitivities(energies: Tensor, n: int, averaging: Averaging) -> Tensor:
    """m_k from band energies ``[..., K]``: divided by N^2 ("image") or by the band's own cell count ("band")."""
    if averaging == "image":
        return energies / (n * n)
    return energies / band_masks(n, energies.shape[-1]).sum(dim=(1, 2)).to(energies)


def strongest_band(sensitivity: Tensor) -> Tensor:
    """Index (from 0) of the largest of the last axis; of equals the higher band wins."""
    return sensitivity.shape[-1] - 1 - sensitivity.flip(-1).argmax(dim=-1)


def noise_in_band(x: Tensor, band: Tensor, bands: int, rms: float, rng: torch.Generator) -> Tensor:
    """Add Gaussian noise to one band of each image's spectrum, not clipped: ``[n, C, N, N]`` -> same shape.

    ``band`` int64 ``[n]`` counts from 0. Its cells get ``N(0, sigma^2)`` with ``sigma = rms N / sqrt(|B_k|)``, which by
    Parseval makes the noise's root mean square in pixels ``rms``. ``rng`` is a CPU generator.
    """
    n = x.shape[-1]
    masks = band_masks(n, bands)
    sigma = rms * n / masks.sum(dim=(1, 2)).to(torch.float32).sqrt()
    scale = (masks.to(torch.float32) * sigma[:, None, None])[band.cpu()][:, None]  # [n, 1, N, N]
    noise = torch.randn(x.shape, generator=rng) * scale
    return x + idct2(noise.to(x))  # = IDCT(F + eta)


class FrequencyAugmentation(BaseModel):
    """Parameters of the augmentation, and the augmentation itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bands: int = Field(default=4, ge=1, le=12, description="K, number of frequency bands")
    rms: float = Field(default=0.05, ge=0.0, le=1.0, description="Root mean square of the noise in pixels of [0, 1]")
    averaging: Averaging = Field(
        default="image", description="image: m_k divides by N^2; band: by the band's own cells"
    )
    per_image: bool = Field(default=False, description="Choose the band for each image instead of once for the set")
    patch_max_side: int = Field(default=4, ge=1, description="Largest side of the imagined trigger, in pixels of 32")

    @classmethod
    def from_section(cls, section: SyntheticSection) -> FrequencyAugmentation:
        """The augmentation that a run's ``synthetic`` section asks for."""
        return cls(
            bands=section.bands,
            rms=section.noise_rms,
            averaging=section.band_average,
            per_image=section.band_choice == "image",
            patch_max_side=section.patch_max_side,
        )

    def __call__(
        self, images: Tensor, rng: torch.Generator, trigger: Callable[[Tensor], Tensor] | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        """Augmented copies of ``images`` (float ``[n, C, N, N]`` in [0, 1]), clipped to [0, 1], and the facts.

        Args:
            images: not changed.
            rng: CPU generator of the patches and the noise.
            trigger: stands in for the random patches, for ablation only: a server doesn't know the attack's trigger.

        Returns:
            New tensor of the same shape; facts ``band`` (1..K, where most images got their noise),
            ``band_image_average`` and ``band_band_average`` (what each averaging would choose for the set),
            ``sensitivity_k`` (set mean of m_k under the averaging in use), ``noise_sigma`` (of that band's cells) and,
            with ``per_image``, ``band_share_k``.

        Raises:
            ConfigError: images that aren't square, or more bands than they have room for.
        """
        if images.ndim != 4 or images.shape[-1] != images.shape[-2]:
            wanted = f"frequency bands need square images [n, C, N, N], got shape {tuple(images.shape)}"
            raise ConfigError("synthetic.augment", "frequency", wanted)
        n, size = len(images), images.shape[-1]
        cells = band_masks(size, self.bands).sum(dim=(1, 2))
        if n == 0:
            return images.clone(), {}
        triggered = trigger(images) if trigger else random_patches(images, rng, self.patch_max_side)
        difference = images - triggered
        chunks = (difference[i : i + CHUNK] for i in range(0, n, CHUNK))
        energies = torch.cat([band_energies(d, self.bands) for d in chunks]).cpu()
        mean = energies.to(torch.float64).mean(dim=0)
        chosen: dict[Averaging, int] = {
            "image": int(strongest_band(sensitivities(mean, size, "image"))),
            "band": int(strongest_band(sensitivities(mean, size, "band"))),
        }
        if self.per_image:
            band = strongest_band(sensitivities(energies, size, self.averaging))
        else:
            band = torch.full((n,), chosen[self.averaging])
        counts = torch.bincount(band, minlength=self.bands)
        main = int(strongest_band(counts))
        facts = {
            "band": main + 1.0,
            "band_image_average": chosen["image"] + 1.0,
            "band_band_average": chosen["band"] + 1.0,
            "noise_sigma": self.rms * size / math.sqrt(float(cells[main])),
        }
        for k, value in enumerate(sensitivities(mean, size, self.averaging).tolist(), start=1):
            facts[f"sensitivity_{k}"] = value
        if self.per_image:
            facts.update({f"band_share_{k}": count / n for k, count in enumerate(counts.tolist(), start=1)})
        return noise_in_band(images, band, self.bands, self.rms, rng).clamp_(0.0, 1.0), facts
