"""Some of the server's synthetic samples, with what was done to them, for pages."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, model_validator

from fedcrucible_core.records.schema import Line, Record

Fate = Literal["kept", "dropped", "relabelled", "unlearned"]
LARGEST_PICTURE = 1 << 24
"""Bytes of a picture that is read."""


class StoredPicture(Record):
    """A uint8 picture ``[C, H, W]`` as text."""

    shape: tuple[int, int, int]
    pixels: str
    """Base64 of its bytes, row by row."""

    @model_validator(mode="after")
    def _whole(self) -> StoredPicture:
        wanted = int(np.prod(self.shape)) if min(self.shape) > 0 else -1
        try:
            found = len(base64.b64decode(self.pixels, validate=True))
        except binascii.Error:
            found = -2
        if found != wanted or wanted > LARGEST_PICTURE or self.shape[0] not in (1, 3):
            raise ValueError("it is no picture of that shape")
        return self

    @classmethod
    def of(cls, pixels: NDArray[Any]) -> StoredPicture:
        """A picture to store."""
        channels, height, width = pixels.shape
        data = base64.b64encode(np.ascontiguousarray(pixels, dtype=np.uint8).tobytes()).decode()
        return cls(shape=(channels, height, width), pixels=data)

    @property
    def array(self) -> NDArray[np.uint8]:
        """The picture."""
        return np.frombuffer(base64.b64decode(self.pixels), dtype=np.uint8).reshape(self.shape)


class SyntheticExample(Record):
    """One sample."""

    label: int
    """The class it came with; -1 = none."""
    used_as: int | None = None
    """The class it is used as, where that is another."""
    poisoned: bool | None = None
    """The truth, for readers alone; None = nobody was at the data."""
    fate: Fate = "kept"
    """What the sanitizer did with it."""
    picture: StoredPicture | None = None
    text: Line = ""


class SyntheticExamples(BaseModel):
    """The content of synthetic.json."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    sanitized: bool = False
    """Whether a sanitizer looked at them."""
    examples: tuple[SyntheticExample, ...] = ()
