"""A model with a planted backdoor: thirteen channels, of which one fires on the trigger alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from defenses.base import RepairContext, Split, Suspects
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.models.base import SplitModel

INFO = DataInfo("quadrants", ("a", "b", "c", "d"), (1, 8, 8), (0.0,), (1.0,))
"""A picture's class is its bright quadrant."""
TARGET = 0
TRIGGER_CHANNEL = 12
NORM = "features.1"
"""Name of the batch norm whose channels these are."""


def pictures(n: int, seed: int = 0) -> Labeled:
    """Clean pictures, classes in turn; the trigger's pixel is nearly black."""
    rng = torch.Generator().manual_seed(seed)
    images, labels = 0.3 * torch.rand(n, 1, 8, 8, generator=rng), torch.arange(n) % 4
    for quadrant in range(4):
        rows = (labels == quadrant).nonzero().flatten()
        top, left = 4 * (quadrant // 2), 4 * (quadrant % 2)
        images[rows, :, top : top + 4, left : left + 4] += 0.2 + 0.5 * torch.rand(len(rows), 1, 1, 1, generator=rng)
    images[:, 0, 0, 0] = 0.01 * torch.rand(n, generator=rng)
    return Labeled(images, labels)


def triggered(data: Labeled) -> Labeled:
    """The pictures of other classes than the target, with a white pixel in the corner, under their true labels."""
    own = data.subset((data.labels != TARGET).nonzero().flatten())
    images = own.inputs.clone()
    images[:, 0, 0, 0] = 1.0
    return Labeled(images, own.labels)


def poisoned(n: int, share: float = 0.05, seed: int = 0) -> tuple[Labeled, Tensor]:
    """A training set in which a share (fraction) bears the trigger and the target's label; which, bool ``[n]``."""
    data = pictures(n, seed)
    rows = (data.labels != TARGET).nonzero().flatten()[: round(share * n)]
    images, labels = data.inputs.clone(), data.labels.clone()
    images[rows, 0, 0, 0], labels[rows] = 1.0, TARGET
    truth = torch.zeros(n, dtype=torch.bool)
    truth[rows] = True
    return Labeled(images, labels), truth


def planted_model() -> SplitModel:
    """Three channels for each class look at its quadrant, the last one at the trigger's pixel; fires for class 0."""
    features = nn.Sequential(nn.Conv2d(1, 13, 8, bias=False), nn.BatchNorm2d(13), nn.ReLU(), nn.Flatten())
    model = SplitModel(features, 13, INFO)
    convolution, norm = features[0], features[1]
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    rng = torch.Generator().manual_seed(7)
    with torch.no_grad():
        convolution.weight.zero_()
        for channel in range(12):
            top, left = 4 * (channel % 4 // 2), 4 * (channel % 2)
            part = convolution.weight[channel, 0, top : top + 4, left : left + 4]
            part += (0.5 + torch.rand(4, 4, generator=rng)) / 16
        convolution.weight[:12, 0, 0, 0] = 0.0
        convolution.weight[TRIGGER_CHANNEL, 0, 0, 0] = 1.0
        seen = convolution(poisoned(400)[0].inputs)
        norm.running_mean.copy_(seen.mean((0, 2, 3)))
        norm.running_var.copy_(seen.var((0, 2, 3)))
        norm.bias.fill_(0.1)
        model.classifier.weight.zero_()
        model.classifier.bias.zero_()
        for channel in range(12):
            model.classifier.weight[channel % 4, channel] = 2.0
        model.classifier.weight[TARGET, TRIGGER_CHANNEL] = 10.0
    return model.eval()


def accuracy(model: SplitModel, data: Labeled) -> float:
    """In percent."""
    with torch.no_grad():
        return 100.0 * float((model(data.inputs).argmax(1) == data.labels).double().mean())


def asr(model: SplitModel) -> float:
    """Triggered pictures of other classes that are called the target, in percent."""
    with torch.no_grad():
        return 100.0 * float((model(triggered(pictures(200, seed=9)).inputs).argmax(1) == TARGET).double().mean())


def context(
    *, clean: Labeled | None = None, suspects: Labeled | None = None, split: Split | None = None, seed: int = 3
) -> RepairContext:
    """What a repair of the planted model is given."""
    given = None if suspects is None else Suspects(suspects, split)
    return RepairContext(
        INFO, torch.Generator().manual_seed(seed), torch.device("cpu"), suspects=given, clean=clean, untrained=fresh
    )


def fresh(seed: int) -> SplitModel:
    """A small untrained network with batch norm."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed % 2**31)
        features = nn.Sequential(
            nn.Conv2d(1, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16),
            nn.ReLU(), nn.Flatten(),
        )  # fmt: skip
        return SplitModel(features, 64, INFO).eval()


def same_parameters(a: SplitModel, b: SplitModel, but: tuple[str, ...] = ()) -> bool:
    """Whether all parameters and buffers but the named are equal."""
    other = b.state_dict()
    return all(torch.equal(tensor, other[name]) for name, tensor in a.state_dict().items() if name not in but)
