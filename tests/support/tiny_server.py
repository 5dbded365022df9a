"""A tiny model, server set and guide for tests of purifiers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fedcrucible_core.foundation.base import GuideTargets, ServerData
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.models import ResNet8, SplitModel

CLASSES = 4
INFO = DataInfo("tiny", ("a", "b", "c", "d"), (1, 8, 8), (0.5,), (0.25,))
GUIDE_DIM = 12


def make_model(seed: int = 0, *, channels_last: bool = False) -> SplitModel:
    return ResNet8(width=4).build(INFO, seed, channels_last=channels_last).eval()


def make_data(n: int = 26, seed: int = 0, *, augmented: bool = True) -> ServerData:
    g = torch.Generator().manual_seed(seed)
    images = torch.rand(n, 1, 8, 8, generator=g)
    copies = (images + 0.1 * torch.randn(images.shape, generator=g)).clamp(0, 1) if augmented else None
    return ServerData(Labeled(images, torch.arange(n) % CLASSES), copies, (), {})


def make_guide(data: ServerData, seed: int = 0) -> GuideTargets:
    g = torch.Generator().manual_seed(seed)
    text = F.normalize(torch.randn(CLASSES, GUIDE_DIM, generator=g), dim=1)
    labels = data.training_set().labels
    image = F.normalize(text[labels] + 0.5 * torch.randn(len(labels), GUIDE_DIM, generator=g), dim=1)
    return GuideTargets(image, text, 10.0 * image @ text.T)


def snapshot(model: SplitModel) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
