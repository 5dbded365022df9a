"""Parameters of poisoners that would train a trigger for seconds."""

from __future__ import annotations

QUICK: dict[str, dict[str, int]] = {
    "guide-patch": {"steps": 1, "samples": 4},
    "ssba": {"epochs": 1, "samples": 8, "batch_size": 8},
    "iab": {"epochs": 1, "mask_epochs": 1, "samples": 24, "batch_size": 24, "width": 4},
    "lc": {"epochs": 1, "samples": 24, "batch_size": 24, "surrogate_steps": 1, "attack_steps": 2},
    "flip": {"epochs": 1, "samples": 48, "batch_size": 32, "checkpoint_every": 1, "passes": 1},
    "gcb-direction": {"samples": 48},
    "gcb-cinfogan": {"epochs": 1, "samples": 24, "batch_size": 24, "edit_steps": 2},
}


COLOUR_ALONE = {"ctrl"}
"""Poisoners that refuse grey images, which all those that ship are."""


def quick_keys(name: str) -> dict[str, str | int | float | bool]:
    """The same as settings of a run of that attack: ``attack__ssba__epochs`` and so on."""
    return {f"attack__{name}__{key}": value for key, value in QUICK.get(name, {}).items()}
