"""What is learned, and from what: the network, a client's pictures, training and the test."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fedcrucible_assets import asset_path

Pictures = tuple[Tensor, Tensor]
"""Grey pictures float32 ``[n, 1, 28, 28]`` in [0, 1], and their labels int64 ``[n]`` in 0..9."""


class Net(nn.Module):
    """Two convolutions and two linear layers, 54,314 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 5, stride=2, padding=2)
        self.conv2 = nn.Conv2d(8, 16, 5, stride=2, padding=2)
        self.fc1 = nn.Linear(16 * 7 * 7, 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``[n, 10]`` of pictures ``[n, 1, 28, 28]``."""
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        return self.fc2(F.relu(self.fc1(x.flatten(1))))  # type: ignore[no-any-return]


@cache
def _pictures(asset: str) -> Pictures:
    """A file of the slice of Fashion-MNIST that ships with FedCrucible; read once per process."""
    with np.load(asset_path(asset)) as file:
        images = torch.from_numpy(file["images"]).unsqueeze(1).float() / 255
        return images, torch.from_numpy(file["labels"].astype(np.int64))


def load_data(partition_id: int, num_partitions: int, examples: int) -> Pictures:
    """The pictures of one client, at most ``examples``: every ``num_partitions``-th one of the training set."""
    images, labels = _pictures("fashion-train")
    return images[partition_id::num_partitions][:examples], labels[partition_id::num_partitions][:examples]


def test_data() -> Pictures:
    """The 10,000 test pictures; the server's."""
    return _pictures("fashion-test")


def train(model: nn.Module, pictures: Pictures, epochs: int, lr: float, batch_size: int, seed: int) -> float:
    """Train in place by SGD; returns the mean loss of the last epoch."""
    images, labels = pictures
    shuffling = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    model.train()
    losses: list[float] = []
    for _ in range(epochs):
        batches = torch.split(torch.randperm(len(labels), generator=shuffling), batch_size)
        losses = []
        for rows in batches:
            optimiser.zero_grad()
            loss = F.cross_entropy(model(images[rows]), labels[rows])
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            losses.append(loss.item())
    return sum(losses) / len(losses)


@torch.no_grad()
def predict(model: nn.Module, images: Tensor) -> Tensor:
    """The class of each picture, int64 ``[n]``."""
    model.eval()
    return torch.cat([model(part).argmax(1) for part in torch.split(images, 1000)])


def accuracy(model: nn.Module, pictures: Pictures) -> float:
    """Share of pictures whose class is found, in [0, 1]."""
    images, labels = pictures
    return (predict(model, images) == labels).double().mean().item()
