"""The light SGD equals torch's own, bit for bit, and keeps its import out of clients."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fedcrucible_core.learning.sgd import SGD


def _train(light: bool, momentum: float, weight_decay: float) -> list[Tensor]:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 5))
    model[3].bias.requires_grad_(False)
    if light:
        optimiser = SGD(model.parameters(), 0.1, momentum, weight_decay)
    else:
        optimiser = torch.optim.SGD(model.parameters(), 0.1, momentum, weight_decay=weight_decay)
    for _ in range(5):
        x, y = torch.randn(6, 1, 8, 8), torch.randint(0, 5, (6,))
        optimiser.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimiser.step()
    return [p.detach().clone() for p in model.parameters()]


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 5e-4])
def test_equals_torch_bit_for_bit(momentum: float, weight_decay: float) -> None:
    ours, theirs = _train(True, momentum, weight_decay), _train(False, momentum, weight_decay)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_training_does_not_import_the_compiler() -> None:
    code = """
import sys, torch
from torch import nn
from fedcrucible_core.config.sections import TrainingSection
from fedcrucible_core.learning.training import train
train(nn.Linear(2, 2), torch.randn(8, 2), torch.zeros(8, dtype=torch.int64), TrainingSection(), torch.Generator())
sys.exit("torch._dynamo" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
