"""MSPC: the scaled pictures by hand, a prediction that bears scaling, what the mask does."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from defenses.splitters.mspc import MspcSplit
from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.data import Labeled
from tests.support.planted import pictures, planted_model, poisoned


class Corner(nn.Module):
    """Class 0 where the first pixel is bright, else 1 or 2 by whether the picture is mostly bright."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(20.0))

    def forward(self, x: Tensor) -> Tensor:
        corner, mean = x[:, 0, 0, 0], x.mean((1, 2, 3))
        return self.gain * torch.stack([2.0 * (corner - 0.5), 0.5 - mean, mean - 0.5], 1)


def test_scaled_by_hand() -> None:
    x, mask = torch.tensor([[[[0.1, 0.5], [0.9, 0.2]]]]), torch.tensor([[[[1.0, 0.5], [1.0, 0.0]]]])
    assert torch.allclose(MspcSplit(tau=0.2).scaled(x, mask, 2), torch.tensor([[[[0.0, 0.3], [1.0, 0.0]]]]))


def test_a_trigger_bears_scaling_and_other_classes_do_not() -> None:
    images = torch.full((4, 1, 6, 6), 0.45)
    images[:2, 0, 0, 0] = 1.0  # bright corner: class 0 whatever the scale
    images[2:, 0, 0, 0] = 0.0
    found = MspcSplit(outer=0).consistency(Corner(), images, torch.ones(1, 1, 6, 6))
    assert found[:2].tolist() == [1.0, 1.0]
    assert found[2:].tolist() == pytest.approx([-9 / 11] * 2), "class 2 from n = 3 on"


def test_it_flags_the_plant() -> None:
    data, truth = poisoned(200)
    found = MspcSplit(outer=1, inner=1, sparsity=1e-4).split(data, None, planted_model(), torch.Generator())
    caught = torch.zeros(200, dtype=torch.bool)
    caught[found.triggered] = True
    assert bool(caught[truth].all())


def test_the_mask_shrinks_where_it_is_not_needed_and_stays_in_its_bounds() -> None:
    images = torch.full((10, 1, 6, 6), 0.45)
    images[:, 0, 0, 0] = 1.0
    splitter, ones = MspcSplit(inner=150, mask_batch=10), torch.ones(1, 1, 6, 6)
    mask = splitter._learned(Corner(), images, torch.ones(10, dtype=torch.bool), ones, torch.Generator())
    assert float(mask.min()) >= 0.0
    assert float(mask.max()) <= 1.0
    assert float(mask[0, 0, 0, 0]) > 0.2, "the corner is what predictions hang on"
    assert float(mask[0, 0, 3, 3]) < 0.1
    alone = splitter._learned(Corner(), images, torch.zeros(10, dtype=torch.bool), ones, torch.Generator())
    assert float(alone.max()) < 0.1, "nothing is to be kept"


def test_texts_are_refused_and_a_model_is_needed() -> None:
    with pytest.raises(ConfigError, match=r"splitter.name = 'mspc-split': scales pixels"):
        MspcSplit().split(Labeled(torch.ones(2, 4, dtype=torch.int64), torch.zeros(2).long()), None, Corner(), None)
    with pytest.raises(ValueError, match="needs a freshly trained model"):
        MspcSplit().split(pictures(4), None, None, torch.Generator())


def test_it_is_called_partial() -> None:
    assert (MspcSplit.__doc__ or "").startswith("Partial:")
