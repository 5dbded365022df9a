"""Picture files and bytes to tensors."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


def decode_picture(content: bytes | Path, channels: int) -> Tensor:
    """A picture file as float32 ``[channels, h, w]`` in [0, 1], upright, transparency on white.

    ``channels`` is 1 (grey) or 3. Raises ValueError when the bytes are no picture.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(content if isinstance(content, Path) else io.BytesIO(content)) as opened:
            picture = ImageOps.exif_transpose(opened)
            if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
                layer = picture.convert("RGBA")
                picture = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
            array = np.array(picture.convert("L" if channels == 1 else "RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"not a readable picture ({error})") from error
    pixels = torch.from_numpy(array).to(torch.float32).div_(255.0)
    return pixels[None] if channels == 1 else pixels.permute(2, 0, 1).contiguous()
