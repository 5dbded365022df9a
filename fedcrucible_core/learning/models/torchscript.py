"""The only place that loads a TorchScript archive: a program of somebody else's, run with this process's rights.

Nothing else in the project loads what could run.  It is asked for by name and agreed to by a setting of its own.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.plain_text import plain_text


def torchscript_logits(file: Path, batches: list[Tensor], key: str, *, agreed: bool) -> list[Tensor]:
    """What the archive's ``forward`` answers to each batch.

    Raises:
        ConfigError: nobody agreed to run it, or it can't be loaded.
    """
    require_agreement(file, key, agreed=agreed)
    try:
        program = torch.jit.load(str(file), map_location="cpu").eval()  # type: ignore[no-untyped-call]
    except Exception as error:  # readers raise what they like on damaged files
        raise ConfigError(key, str(file), f"can't be read as TorchScript ({plain_text(error)})") from None
    with torch.no_grad():
        return [program(batch) for batch in batches]


def require_agreement(file: Path, key: str, *, agreed: bool) -> None:
    """Raise ConfigError unless running the archive was agreed to."""
    if not agreed:
        allowed = f"a TorchScript archive is a program: set {key}_run=true if you trust who made it, or give .onnx"
        raise ConfigError(key, str(file), allowed)
