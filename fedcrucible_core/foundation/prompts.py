"""Prompts for text-to-image sources: a class name put in context (docs/choices.md#server-images)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

TEMPLATES: dict[str, tuple[str, ...]] = {
    "plain": ("a photo of {a} {c}",),
    "size": ("a photo of a small {c}", "a photo of a large {c}", "a close-up photo of {a} {c}"),
    "occlusion": ("a photo of {a} {c} partially behind {obstacle}", "a photo of {a} {c} partly covered by {obstacle}"),
    "background": (
        "a photo of {a} {c} under a cloudy sky",
        "a photo of {a} {c} on a sunny day",
        "a photo of {a} {c} in fog",
        "a photo of {a} {c} on a rainy day",
        "a photo of {a} {c} in front of a plain wall",
        "a photo of {a} {c} against a blurred background",
    ),
    "viewpoint": (
        "a photo of {a} {c} seen from the side",
        "a photo of {a} {c} seen from above",
        "a photo of {a} {c} seen from the front",
        "a photo of {a} {c} seen from behind",
    ),
    "lighting": (
        "a photo of {a} {c} in soft daylight",
        "a photo of {a} {c} in dim light",
        "a photo of {a} {c} lit from one side",
        "a photo of {a} {c} at dusk",
    ),
    "style": (
        "a realistic photo of {a} {c}",
        "a product photo of {a} {c}",
        "an amateur photo of {a} {c}",
        "a black and white photo of {a} {c}",
    ),
}
"""Aspect -> templates; ``{c}`` is the class, ``{a}`` its article, ``{obstacle}`` one of :data:`OBSTACLES`."""

OBSTACLES = ("a fence", "a tree", "a box", "a chair", "a curtain", "a wall", "a person")


def readable(class_name: str) -> str:
    """A class name as prose: ``T-shirt/top`` -> ``T-shirt or top``, ``maple_tree`` -> ``maple tree``."""
    return " ".join(class_name.replace("/", " or ").replace("_", " ").split())


def expand(class_name: str, draws: Sequence[float]) -> str:
    """The prompt that three uniform draws in [0, 1) choose: aspect, template within it, obstacle."""
    aspect, template, obstacle = draws
    templates = list(TEMPLATES.values())[int(aspect * len(TEMPLATES))]
    name = readable(class_name)
    article = "an" if name[:1].lower() in "aeiou" else "a"
    values = {"c": name, "a": article, "obstacle": OBSTACLES[int(obstacle * len(OBSTACLES))]}
    return templates[int(template * len(templates))].format(**values)


def expand_prompts(class_names: Sequence[str], rng: torch.Generator) -> tuple[str, ...]:
    """One prompt per entry of ``class_names`` (one entry per image), each with its own random context.

    Every aspect has the same chance, then every template of it. ``rng`` is a CPU generator; it moves on by three draws
    per image.
    """
    draws = torch.rand(len(class_names), 3, generator=rng).tolist()
    return tuple(expand(name, draw) for name, draw in zip(class_names, draws, strict=True))
