"""A CLIP or SigLIP model of transformers, loaded and ready to embed. Import this only when a model must run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.plain_text import first_line
from fedcrucible_core.config.text_files import read_text
from fedcrucible_core.foundation.cache import files_digest, model_files
from fedcrucible_core.foundation.preprocess import Preprocess

MODEL_TYPES = {"clip": "clip", "siglip": "siglip"}
"""guide.family -> ``model_type`` in the model's config.json."""


def local_folder(model: str) -> Path | None:
    """The folder that ``guide.model`` names ("tiny" is the one that ships), or None for a hub name.

    Raises:
        ConfigError: it reads like a path, and no such folder is there.
        AssetMissingError: the shipped model isn't installed.
    """
    if model == "tiny":
        from fedcrucible_assets import asset_path

        return asset_path("clip-tiny-fashion")
    folder = Path(model).expanduser()
    if model.strip() and folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ConfigError("guide.model", model, "that folder holds no config.json of a transformers model")
        return folder
    if model.startswith(("/", "~", ".", "\\")) or model.count("/") > 1 or not model.strip():
        raise ConfigError("guide.model", model, "no such folder; allowed: tiny, a folder, a Hugging Face hub name")
    return None


def cached_commit(name: str) -> str | None:
    """The commit of a hub model that lies in the local Hugging Face cache, if any."""
    import huggingface_hub

    try:
        found = huggingface_hub.try_to_load_from_cache(name, "config.json")
    except ValueError as error:  # a malformed name
        raise ConfigError("guide.model", name, f"not a Hugging Face hub name ({error})") from error
    return Path(found).parent.name if isinstance(found, str) else None


def load_error(model: str, folder: Path | None, error: Exception, kind: str, instead: str) -> ConfigError:
    """What to say where a model can't be loaded, whatever went wrong; ``instead`` is what can be had without it."""
    reason = first_line(error)
    if folder:
        allowed = f"can't be loaded ({reason}); check that the folder holds a complete {kind}"
    else:
        allowed = (
            f"can't be had from the Hugging Face hub ({reason}); check the name and the network, or download "
            f"it once where there is one and give its folder, or use {instead}"
        )
    return ConfigError("guide.model", model, allowed)


def folder_identity(folder: Path) -> str:
    """Content hash of a model folder: weights, configuration, tokenizer; not what is written about them."""
    return files_digest(model_files(folder))


class Encoder:
    """Frozen float32 model with its processor."""

    def __init__(self, model: str, family: str, device: torch.device) -> None:
        folder = local_folder(model)
        source = str(folder or model)
        revision = None if folder else cached_commit(model)
        if folder:
            _check_family(model, _settings(model, folder), family)
        import transformers

        model_class = {"clip": transformers.CLIPModel, "siglip": transformers.SiglipModel}[family]
        processor_class = {"clip": transformers.CLIPProcessor, "siglip": transformers.SiglipProcessor}[family]
        pinned: dict[str, str] = {"revision": revision} if revision else {}
        try:
            if not folder:
                settings, _ = transformers.PreTrainedConfig.get_config_dict(model, **pinned)
                _check_family(model, settings, family)
            loaded = model_class.from_pretrained(source, **pinned)
            self.processor: Any = processor_class.from_pretrained(source, **pinned)
        except ConfigError:
            raise
        except Exception as error:  # whatever goes wrong in loading, the user needs the same answer
            raise load_error(model, folder, error, f"{family} model", "tiny, which ships") from error
        self.model: Any = loaded.float().to(device).eval().requires_grad_(False)
        self.family = family
        self.device = device
        self.preprocess = Preprocess.from_processor(self.processor.image_processor)
        commit = getattr(loaded.config, "_commit_hash", None)
        self.identity = folder_identity(folder) if folder else f"{model}@{commit}"

    @property
    def logit_scale(self) -> Tensor:
        """exp of the learned log scale, a scalar."""
        return cast(Tensor, self.model.logit_scale.detach().exp().reshape(()).cpu())

    @property
    def logit_bias(self) -> Tensor:
        """SigLIP's learned bias, a scalar; 0 for CLIP."""
        bias = getattr(self.model, "logit_bias", None)
        return torch.zeros(()) if bias is None else cast(Tensor, bias.detach().reshape(()).cpu())

    @torch.no_grad()
    def images(self, images: Tensor, batch_size: int) -> Tensor:
        """L2-normalised float32 ``[n, e]`` on the CPU of images ``[n, 1 or 3, H, W]`` in [0, 1]."""
        parts = []
        for start in range(0, len(images), batch_size):
            parts.append(self._embedded(self.preprocess(images[start : start + batch_size], self.device)).cpu())
        return torch.cat(parts)

    def smooth_images(self, images: Tensor) -> Tensor:
        """Nearly the same on the encoder's device, with a gradient that reaches the pixels."""
        return self._embedded(self.preprocess.smooth(images.to(self.device)))

    def _embedded(self, pixels: Tensor) -> Tensor:
        features = self.model.get_image_features(pixel_values=pixels)
        return F.normalize(_pooled(features).float(), dim=-1)

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> Tensor:
        """L2-normalised float32 ``[n, e]`` on the CPU of n texts."""
        tokens = self.processor.tokenizer(
            list(texts),
            padding="max_length" if self.family == "siglip" else True,  # SigLIP was trained on padded texts only
            truncation=True,
            max_length=self.model.config.text_config.max_position_embeddings,
            return_tensors="pt",
        )
        inputs = {name: tokens[name].to(self.device) for name in ("input_ids", "attention_mask") if name in tokens}
        return F.normalize(_pooled(self.model.get_text_features(**inputs)).float(), dim=-1).cpu()


def _pooled(features: Any) -> Tensor:
    """transformers 5 returns an output object, 4 the tensor itself."""
    return cast(Tensor, features if isinstance(features, Tensor) else features.pooler_output)


def _settings(model: str, folder: Path) -> dict[str, Any]:
    try:
        found = json.loads(read_text(folder / "config.json"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError("guide.model", model, f"its config.json can't be read ({error})") from error
    return found if isinstance(found, dict) else {}


def _check_family(model: str, settings: dict[str, Any], family: str) -> None:
    found = settings.get("model_type")
    if found != MODEL_TYPES[family]:
        raise ConfigError("guide.family", family, f"guide.model {model!r} is of type {found!r}, not {family}")
