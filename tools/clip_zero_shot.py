"""Zero-shot classification with a Hugging Face CLIP folder, and what a white patch does to it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPModel, CLIPProcessor

from tools.fashion_idx import CLASS_NAMES

SINGLE_PROMPT = ("a photo of a {}",)
PROMPT_ENSEMBLE = (
    "a photo of a {}",
    "a picture of a {}",
    "a grayscale photo of a {}",
    "a blurry photo of a {}",
    "a small {}",
    "a {} under a cloudy sky",
)


def _pooled(features: Tensor | object) -> Tensor:
    """transformers 5 wraps the projected features in an output object; earlier versions return them bare."""
    pooled = features if isinstance(features, Tensor) else getattr(features, "pooler_output")  # noqa: B009
    assert isinstance(pooled, Tensor)
    return F.normalize(pooled.float(), dim=-1)


class ZeroShot:
    """Class scores of images from a CLIP folder, along the path that any Hugging Face CLIP takes."""

    def __init__(self, folder: Path | str, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.model = CLIPModel.from_pretrained(folder).float().to(self.device).eval()
        self.processor = CLIPProcessor.from_pretrained(folder)

    @torch.no_grad()
    def class_embeddings(self, templates: tuple[str, ...] = SINGLE_PROMPT) -> Tensor:
        """One unit vector per class ``[10, d]``: the mean over the templates, normalised again."""
        rows = []
        for name in CLASS_NAMES:
            texts = [template.format(name) for template in templates]
            inputs = self.processor.tokenizer(texts, padding=True, return_tensors="pt").to(self.device)
            rows.append(_pooled(self.model.get_text_features(**inputs)).mean(dim=0))
        return F.normalize(torch.stack(rows), dim=-1)

    @torch.no_grad()
    def image_embeddings(self, images: Tensor, batch_size: int = 500) -> Tensor:
        """Unit vectors ``[n, d]`` of images ``[n, 1 or 3, H, W]`` in [0, 1]."""
        rows = []
        for start in range(0, len(images), batch_size):
            rgb = images[start : start + batch_size].expand(-1, 3, -1, -1)
            inputs = self.processor.image_processor(images=rgb, do_rescale=False, return_tensors="pt")
            rows.append(_pooled(self.model.get_image_features(inputs["pixel_values"].to(self.device))))
        return torch.cat(rows)

    def predict(self, images: Tensor, templates: tuple[str, ...] = SINGLE_PROMPT) -> Tensor:
        """Most similar class of each image ``[n]``, on the CPU."""
        return (self.image_embeddings(images) @ self.class_embeddings(templates).T).argmax(dim=1).cpu()


def add_patch(images: Tensor, size: int = 3) -> Tensor:
    """BadNets' trigger: a white square in the lower right corner. Images ``[n, C, H, W]`` in [0, 1] are not changed."""
    patched = images.clone()
    patched[:, :, -size:, -size:] = 1.0
    return patched


def report(folder: Path | str, images: Tensor, labels: Tensor, device: torch.device) -> dict[str, float]:
    """Accuracies in per cent, and how often images of other classes go to class 0 without and with the trigger."""
    guide = ZeroShot(folder, device)
    plain = guide.predict(images)
    triggered = guide.predict(add_patch(images))
    others = labels != 0
    figures = {
        "zero_shot": plain == labels,
        "zero_shot_ensemble": guide.predict(images, PROMPT_ENSEMBLE) == labels,
        "zero_shot_triggered": triggered == labels,
        "others_to_0_plain": plain[others] == 0,
        "others_to_0_triggered": triggered[others] == 0,
        "changed_by_trigger": plain != triggered,
    }
    per_class = {f"class_{CLASS_NAMES[c]}": plain[labels == c] == c for c in range(10)}
    return {name: round(100 * hits.float().mean().item(), 2) for name, hits in {**figures, **per_class}.items()}
