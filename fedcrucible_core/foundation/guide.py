"""The guide: a frozen vision-language model whose embeddings are computed once and kept.

Sources: CLIP (radford2021clip), SigLIP (zhai2023siglip); their use as a server-side guide is CLIP-Fed's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.places import cache_folder
from fedcrucible_core.foundation.cache import plain, read_tensors, usable, warn_unusable, write_tensors
from fedcrucible_core.foundation.cached_guide import CachedGuide
from fedcrucible_core.foundation.class_prompts import ClassPrompts, parse_templates

if TYPE_CHECKING:
    from fedcrucible_core.foundation.encoder import Encoder

CHUNK_PASSES = 16
"""Forward passes whose embeddings are kept as one file: what an interrupted run repeats at most, and what is in memory
beside the set.  The passes of a set are the same however it is cut here, and so are the last bits."""


class TransformersGuide(CachedGuide):
    """CLIP or SigLIP through transformers; loaded only when something asked for isn't in the cache.

    Logit scale and bias are kept beside the embeddings.
    """

    def __init__(
        self,
        model: str,
        family: str,
        prompts: ClassPrompts,
        batch_size: int,
        cache: Path,
        device: torch.device,
        scale: float = 0.0,
    ) -> None:
        super().__init__(model, family, prompts, cache, device)
        self.batch_size = batch_size
        self._wanted_scale = scale
        self._encoder: Encoder | None = None
        self._identity: str | None = None
        self._head: tuple[Tensor, Tensor] | None = None

    @property
    def loaded(self) -> bool:
        """Whether the model is in memory."""
        return self._encoder is not None

    @property
    def identity(self) -> str:
        """Content hash of the model folder, or ``name@commit`` of a hub model (fetched if it isn't here yet)."""
        if self._identity is None:
            from fedcrucible_core.foundation.encoder import cached_commit, folder_identity, local_folder

            folder = local_folder(self.model)
            if folder:
                self._identity = folder_identity(folder)
            else:
                commit = cached_commit(self.model)
                self._identity = f"{self.model}@{commit}" if commit else self._load().identity
        return self._identity

    def embeddings(self, images: Tensor) -> Tensor:
        """L2-normalised float32 ``[n, e]`` on the guide's device.

        Args:
            images: float32 ``[n, 1 or 3, H, W]`` in [0, 1]; grey is repeated to three channels, then resized,
                cropped and normalised as the model's processor says.

        Raises:
            ValueError: another type or shape.
            ConfigError: the model is needed and can't be loaded.
        """
        if images.ndim != 4 or images.shape[1] not in (1, 3) or not images.is_floating_point():
            wanted = "images must be float [n, 1 or 3, H, W] in [0, 1]"
            raise ValueError(f"{wanted}, got {images.dtype} {tuple(images.shape)}")
        if not len(images):
            return self.text_embeddings(("nothing",))[:0]
        size, parts = self.batch_size * CHUNK_PASSES, []
        for start in range(0, len(images), size):
            if len(images) > size:
                self.told("the guide's embeddings", start, len(images))
            parts.append(self._chunk(images[start : start + size]))
        return (parts[0] if len(parts) == 1 else plain(torch.cat(parts))).to(self.device)

    def _chunk(self, images: Tensor) -> Tensor:
        """Embeddings ``[n, e]`` of a part of a set that begins with a forward pass, kept by themselves."""
        pixels = plain(images.to(torch.float32))
        path = self._path("image", f"{self.batch_size} a pass", pixels)
        found = self._read(path, (len(images), -1))
        if found is None:
            found = plain(self._load().images(pixels, self.batch_size))
            self._write(path, found)
        return found

    def _embed_texts(self, texts: Sequence[str]) -> Tensor:
        return self._load().texts(texts)

    @property
    def scale(self) -> float:
        """``guide.scale``, or exp(logit_scale) of the model where that is 0."""
        return self._wanted_scale or float(self.head()[0])

    def logits(self, embeddings: Tensor, text_embeddings: Tensor) -> Tensor:
        """``scale * cos`` ``[n, C]`` (released CLIP weights: 100 * cos), plus the bias of SigLIP."""
        scale, bias = self.head()
        cosines = embeddings @ text_embeddings.T
        return cosines * (self._wanted_scale or scale.to(cosines)) + bias.to(cosines)

    def smooth_logits(self, images: Tensor, text_embeddings: Tensor) -> Tensor:
        """Nearly the logits ``[n, C]`` of images, with a gradient that reaches their pixels; kept nowhere."""
        return self.logits(self._load().smooth_images(images), text_embeddings)

    def head(self) -> tuple[Tensor, Tensor]:
        """exp(logit_scale) and logit_bias (0 for CLIP), scalars on the CPU."""
        if self._head is None:
            path = self._path("head")
            content = read_tensors(path)
            tensors = content[0] if content else {}
            scale, bias = tensors.get("logit_scale"), tensors.get("logit_bias")
            if scale is None or bias is None or not (usable(scale, ()) and usable(bias, ())):
                if content:
                    warn_unusable(path, "unexpected content")
                encoder = self._load()
                scale, bias = encoder.logit_scale, encoder.logit_bias
                write_tensors(path, {"logit_scale": scale, "logit_bias": bias})
            self._head = scale, bias
        return self._head

    def _load(self) -> Encoder:
        if self._encoder is None:
            from fedcrucible_core.foundation.encoder import Encoder

            self._encoder = Encoder(self.model, self.family, self.device)
            self._identity = self._encoder.identity
            self.head()  # so that the next process finds it
        return self._encoder


def load_guide(
    model: str = "tiny",
    family: Literal["clip", "siglip"] = "clip",
    templates: str = "a photo of a {}",
    batch_size: int = 250,
    cache_dir: str | Path = "",
    device: torch.device | str = "cpu",
    *,
    prompts: ClassPrompts | None = None,
    scale: float = 0.0,
) -> TransformersGuide:
    """A guide of pictures from the parameters of the ``guide`` section; nothing is read from disk or network yet.

    Args:
        model: "tiny" (ships), a local folder, or a Hugging Face hub name.
        family: "clip" (CLIPModel) or "siglip" (SiglipModel).
        templates: prompt templates separated by ``|``, each with one ``{}``; several make an ensemble.
        batch_size: images per forward pass; bounds memory, and changes the last bits of embeddings.
        cache_dir: folder of cached embeddings; empty = as ``config/places.py`` says.
        device: where the model runs and embeddings are returned.
        prompts: of each class, in place of the templates.
        scale: what cosines are multiplied by; 0 = what the model learned.

    Raises:
        ConfigError: a template without ``{}``, or an unknown family.
    """
    if family not in ("clip", "siglip"):
        raise ConfigError("guide.family", family, "allowed: clip, siglip")
    prompts = prompts or ClassPrompts(parse_templates(templates))
    return TransformersGuide(model, family, prompts, batch_size, cache_folder(cache_dir), torch.device(device), scale)
