"""Picture files and bytes to tensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fedcrucible_core.learning.datasets.pictures import PictureError, read_pixels


def decode_picture(content: bytes | Path, channels: int) -> Tensor:
    """A picture file as float32 ``[channels, h, w]`` in [0, 1], upright, transparency on white, any depth of bits.

    ``channels`` is 1 (grey) or 3. Raises ValueError, saying why, when the bytes are no picture or of a mode without a
    known scale.
    """
    from PIL import Image

    try:
        picture = Image.fromarray(read_pixels(content))
    except PictureError as error:
        raise ValueError(f"not a readable picture ({error.why})") from error
    array = np.array(picture.convert("L" if channels == 1 else "RGB"))
    pixels = torch.from_numpy(array).to(torch.float32).div_(255.0)
    return pixels[None] if channels == 1 else pixels.permute(2, 0, 1).contiguous()
