"""A very small model, so that rules which look at layers or predictions have some to look at."""

from __future__ import annotations

import torch
from torch import nn

from defenses.updates import ServerView
from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.models.base import SplitModel
from fedcrucible_core.learning.tasks import task_of
from fedcrucible_core.learning.vector import flatten_parameters, load_parameters, parameter_slots

INFO = DataInfo("tiny", tuple("abcde"), (1, 6, 6), (0.5,), (0.25,))


def tiny_model(seed: int = 0) -> SplitModel:
    """Two convolutions, a batch norm and a classifier of five classes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        features = nn.Sequential(
            nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        return SplitModel(features, 8, INFO).eval()


SLOTS = parameter_slots(tiny_model())
D = SLOTS[-1].stop
"""Parameters of the tiny model."""


def tiny_view(w_t: torch.Tensor, n: int, **changes: object) -> ServerView:
    """What a server that runs the tiny model knows; a root update is the negative of the global model."""
    model = tiny_model()
    load_parameters(model, w_t)
    values: dict[str, object] = {
        "slots": SLOTS,
        "clients": n,
        "rounds": 10,
        "scratch": model,
        "task": task_of(INFO),
        "train_root": lambda _: -0.1 * w_t,
    }
    return ServerView(**{**values, **changes})  # type: ignore[arg-type]


def tiny_start(seed: int = 0) -> torch.Tensor:
    """The tiny model's initial parameters ``[D]``."""
    return flatten_parameters(tiny_model(seed))
