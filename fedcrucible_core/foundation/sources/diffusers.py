"""Synthetic images of a text-to-image model, run locally by Hugging Face diffusers."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.extras import install_hint
from fedcrucible_core.config.plain_text import first_line
from fedcrucible_core.foundation.base import SOURCES, Provenance, Samples, SyntheticSource
from fedcrucible_core.foundation.pixels import fit
from fedcrucible_core.foundation.prompts import expand_prompts
from fedcrucible_core.foundation.sources.fashion import interleaved_labels
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.rng import derive_seed, torch_generator


@SOURCES.register("diffusers")
class DiffusersSource(SyntheticSource):
    """Text-to-image model run locally by Hugging Face diffusers; needs the extra ``fedcrucible[diffusers]``.

    Every image gets its own prompt (the class in a random context) and its own seed, so image i is the same whatever
    the batch size (up to rounding).
    """

    paper = ("gai2025clipfed", "Generation of Image-Text Samples")
    choices = ("server-images", "moment-match")
    knowledge: ClassVar[tuple[str, ...]] = ("a text-to-image model that knows the classes",)
    offline: ClassVar[bool] = False

    model: str = Field("stabilityai/sd-turbo", description="Hugging Face hub name or folder of a text-to-image model")
    steps: int = Field(4, ge=1, le=1000, description="Denoising steps")
    guidance: float = Field(0.0, ge=0.0, le=50.0, description="Classifier-free guidance; turbo models want 0")
    height: int = Field(512, ge=8, multiple_of=8, description="Pixels, before the resize")
    width: int = Field(512, ge=8, multiple_of=8, description="Pixels, before the resize")
    batch_size: int = Field(8, ge=1, description="Images per pass")

    def generate(self, info: DataInfo, per_class: int, seed: int, device: torch.device) -> Samples:
        """``per_class`` images of every class, classes in turn; each prompt is in the provenance.

        Raises:
            ConfigError: diffusers isn't installed, or the model can't be loaded.
        """
        pipeline = self._pipeline(device)
        labels = interleaved_labels(info.num_classes, per_class)
        names = [info.class_names[label] for label in labels.tolist()]
        prompts = expand_prompts(names, torch_generator(seed, "synthetic/prompts"))
        images: list[Tensor] = []
        for start in range(0, len(prompts), self.batch_size):
            batch = list(prompts[start : start + self.batch_size])
            seeds = [derive_seed(seed, "synthetic/diffusers", start + i) for i in range(len(batch))]
            answer = pipeline(
                prompt=batch,
                num_inference_steps=self.steps,
                guidance_scale=self.guidance,
                height=self.height,
                width=self.width,
                generator=[torch.Generator("cpu").manual_seed(value) for value in seeds],
                output_type="pt",
            )
            if any(getattr(answer, "nsfw_content_detected", None) or ()):
                message = f"the model's safety checker blacked out images {start}..{start + len(batch) - 1}"
                warnings.warn(message, RuntimeWarning, stacklevel=2)
            images.append(fit(answer.images.detach().cpu().to(torch.float32).clamp(0.0, 1.0), info.shape))
        provenance = tuple(Provenance(self.name, prompt, i) for i, prompt in enumerate(prompts))
        return Samples(Labeled(torch.cat(images), labels), provenance)

    def _pipeline(self, device: torch.device) -> Any:
        try:
            import diffusers
        except ImportError as error:
            raise ConfigError("synthetic.source", self.name, install_hint("diffusers")) from error
        try:
            pipeline = diffusers.AutoPipelineForText2Image.from_pretrained(self.model)
        except Exception as error:  # whatever goes wrong in loading, the user needs the same answer
            reason = first_line(error)
            wanted = f"can't be loaded ({reason}); check name and network, or give the folder of a downloaded model"
            raise ConfigError("synthetic.diffusers.model", self.model, wanted) from error
        pipeline.set_progress_bar_config(disable=True)
        return pipeline.to(device, torch.float16 if device.type == "cuda" else torch.float32)
