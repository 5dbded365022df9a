"""Random views of pictures, and how a learning rate changes."""

from __future__ import annotations

import pytest
import torch

from fedcrucible_core.learning.schedules import cosine, step
from fedcrucible_core.learning.views import contrastive_view, cutout, turned


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 9, 12)])
def test_a_view_is_a_picture_of_the_same_shape(shape: tuple[int, ...]) -> None:
    x = torch.rand(6, *shape, generator=rng())
    before = x.clone()
    found = contrastive_view(x, rng(1))
    assert found.shape == x.shape
    assert bool(torch.isfinite(found).all())
    assert float(found.min()) >= 0.0
    assert float(found.max()) <= 1.0 + 1e-6
    assert torch.equal(x, before)
    assert torch.equal(found, contrastive_view(x, rng(1)))
    assert not torch.equal(found, contrastive_view(x, rng(2)))


def test_some_views_of_colours_are_grey() -> None:
    x = torch.rand(200, 3, 8, 8, generator=rng())
    found = contrastive_view(x, rng(1))
    grey = (found[:, 0] - found[:, 1]).abs().amax((1, 2)) < 1e-5
    assert 0.1 < float(grey.double().mean()) < 0.3


def test_cutout_zeroes_a_square() -> None:
    found = cutout(torch.ones(50, 2, 20, 20), 6, rng())
    holes = (found == 0).sum((2, 3))
    assert torch.equal(holes[:, 0], holes[:, 1])
    assert int(holes.max()) == 36
    assert int(holes.min()) >= 9, "at a corner a quarter of it"


def test_turned_without_a_shift_is_a_rotation() -> None:
    x = torch.rand(2, 1, 5, 5, generator=rng())
    assert torch.equal(turned(x, 180, 0.0, rng()), x.flip(2, 3))
    assert torch.equal(turned(x, 90, 0.0, rng()), torch.rot90(x, 1, (2, 3)))


def test_turned_moves_by_whole_pixels_and_leaves_black() -> None:
    x = torch.zeros(40, 1, 10, 10)
    x[:, :, 5, 5] = 1.0
    found = turned(x, 180, 0.2, rng())
    assert torch.equal(found.sum((1, 2, 3)), torch.ones(40))
    rows, columns = found[:, 0].nonzero()[:, 1], found[:, 0].nonzero()[:, 2]
    assert (int(rows.min()), int(rows.max())) == (2, 6), "4 turned, moved by up to 2"
    assert set(columns.tolist()) <= set(range(2, 7))
    assert float(turned(torch.ones(4, 1, 10, 10), 180, 0.2, rng()).min()) == 0.0


def test_schedules() -> None:
    assert [cosine(4)(epoch) for epoch in range(4)] == pytest.approx([1.0, 0.8536, 0.5, 0.1464], abs=1e-4)
    assert [step(2)(epoch) for epoch in range(4)] == [1.0, 1.0, 0.1, 0.1]
