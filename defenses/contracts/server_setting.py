"""A tiny model, server set and guide, for checks of what works on models and data."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fedcrucible_core.foundation.base import GuideTargets, ServerData
from fedcrucible_core.learning.bounds import bounds_of
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.models import ResNet8, SplitModel

CLASSES = 4
SERVER_IMAGES = 26
"""Originals of the server's set; each has an augmented copy."""
INFO = DataInfo("tiny", ("a", "b", "c", "d"), (1, 8, 8), (0.5,), (0.25,))
GUIDE_DIM = 12


def make_model(seed: int = 0, *, channels_last: bool = False) -> SplitModel:
    """An untrained ResNet8 of width 4 for 8 x 8 grey images of four classes."""
    return ResNet8.model_validate({"width": 4}).build(INFO, seed, channels_last=channels_last).eval()


def make_data(n: int = SERVER_IMAGES, seed: int = 0, *, augmented: bool = True) -> ServerData:
    """Random images of all classes in turn, with noisy copies; split: of seven in turn five clean, one triggered."""
    g = torch.Generator().manual_seed(seed)
    images = torch.rand(n, 1, 8, 8, generator=g)
    copies = (images + 0.1 * torch.randn(images.shape, generator=g)).clamp(0, 1) if augmented else None
    turn = torch.arange(n) % 7
    parts = [mask.nonzero().flatten() for mask in (turn < 5, turn == 5)]
    return ServerData(Labeled(images, torch.arange(n) % CLASSES), copies, (), {}, None, *parts)


def make_guide(data: ServerData, seed: int = 0) -> GuideTargets:
    """A guide that mostly agrees with the labels."""
    g = torch.Generator().manual_seed(seed)
    text = F.normalize(torch.randn(CLASSES, GUIDE_DIM, generator=g), dim=1)
    labels = data.training_set().labels
    image = F.normalize(text[labels] + 0.5 * torch.randn(len(labels), GUIDE_DIM, generator=g), dim=1)
    return GuideTargets(image, text, 10.0 * image @ text.T)


def snapshot(model: SplitModel) -> dict[str, Tensor]:
    """A copy of all parameters, buffers and bounds on activations."""
    bounds = {f"bounds.{module}": bound for module, bound in bounds_of(model).items()}
    return {name: tensor.detach().clone() for name, tensor in {**model.state_dict(), **bounds}.items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Whether two snapshots (or states) are equal, names included."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
