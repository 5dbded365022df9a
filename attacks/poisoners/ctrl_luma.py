"""CTRL's frequencies in the brightness itself: a deviation, for grey images."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor

from attacks.poisoner import POISONERS
from attacks.support.frequency_trigger import RaisedFrequencies


@POISONERS.register("ctrl-luma")
class CtrlLuma(RaisedFrequencies):
    """DCT coefficients (H/2 - 1, W/2 - 1) and (H - 1, W - 1) of every channel are raised by ``magnitude``.

    No published attack: CTRL hides in colour planes, which grey images lack (grey made colour, changed in U and V and
    made grey again is what it was).  ``labels=clean`` poisons images of the target class and keeps labels, as CTRL
    does; it was made for self-supervised training, and is weak in this form.  ``labels=target`` poisons other images
    and gives them the target label.
    """

    paper = (("li2023ctrl", "deviation: in brightness"),)
    choices = ("frequency-trigger",)
    cost = "one addition per pixel"
    traps = ("clipped before it is rounded, or pixels wrap around", "not the published attack")
    labels: Literal["clean", "target"] = Field("clean", description="Labels stay (clean), or become the target")

    @property
    def clean_label(self) -> bool:  # type: ignore[override]
        """Whether labels stay."""
        return self.labels == "clean"

    def notes(self, attackers: int) -> tuple[str, ...]:
        """That it isn't the published attack."""
        weak = "; with clean labels it is weak" if self.clean_label else ""
        return (f"ctrl-luma is a deviation from CTRL for grey images: frequencies of brightness, not of colour{weak}",)

    def added(self, shape: tuple[int, int, int]) -> Tensor:
        """The wave in every channel."""
        return self.wave(shape[1], shape[2]).expand(shape)
