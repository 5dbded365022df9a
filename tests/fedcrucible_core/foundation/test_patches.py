from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcrucible_core.foundation.patches import random_patches


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(0, 20),
    channels=st.sampled_from([1, 3]),
    height=st.integers(4, 40),
    background=st.floats(0, 1),
    max_side=st.integers(1, 6),
    seed=st.integers(0, 1000),
)
def test_every_image_gets_one_visible_square_in_range(n, channels, height, background, max_side, seed: int) -> None:
    x = torch.full((n, channels, height, height), background)
    before = x.clone()
    out = random_patches(x, torch.Generator().manual_seed(seed), max_side)
    assert torch.equal(x, before)
    assert out.shape == x.shape
    assert out.dtype == x.dtype
    assert n == 0 or (out.min() >= 0 and out.max() <= 1)
    changed = (out != x).any(dim=1)
    limit = max(1, round(max_side * height / 32 + 1e-6))
    for image in changed:
        rows, columns = image.any(dim=1).nonzero().flatten(), image.any(dim=0).nonzero().flatten()
        assert len(rows), "a patch must be seen"
        assert rows[-1] - rows[0] < limit
        assert columns[-1] - columns[0] < limit


def test_black_images_get_bright_patches_and_white_ones_dark_patches() -> None:
    rng = torch.Generator().manual_seed(0)
    assert (random_patches(torch.zeros(500, 1, 28, 28), rng).amax(dim=(1, 2, 3)) >= 0.1).all()
    assert (random_patches(torch.ones(500, 1, 28, 28), rng).amin(dim=(1, 2, 3)) <= 0.9).all()


def test_same_generator_state_same_patches_and_no_global_randomness() -> None:
    x = torch.rand(50, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = random_patches(x, torch.Generator().manual_seed(7))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, random_patches(x, torch.Generator().manual_seed(7)))
    assert not torch.equal(first, random_patches(x, torch.Generator().manual_seed(8)))


def test_sides_are_uniform_and_locations_biased_to_all_four_corners() -> None:
    n = 8000
    x = torch.full((n, 1, 32, 32), 0.47)
    changed = (random_patches(x, torch.Generator().manual_seed(3)) != x)[:, 0]
    sides = changed.any(dim=2).sum(dim=1)
    share = torch.bincount(sides, minlength=5)[1:5] / n
    assert torch.allclose(share, torch.full((4,), 0.25), atol=0.02)
    rows = changed.any(dim=2).float().argmax(dim=1)
    columns = changed.any(dim=1).float().argmax(dim=1)
    for top in (True, False):
        for left in (True, False):
            row = rows <= 4 if top else rows + sides >= 28
            column = columns <= 4 if left else columns + sides >= 28
            assert 0.18 < (row & column).float().mean() < 0.23
    assert ((rows > 8) & (rows < 20)).float().mean() > 0.05


def test_colours_white_black_random_and_checker_all_occur() -> None:
    x = torch.full((4000, 3, 32, 32), 0.47)
    out = random_patches(x, torch.Generator().manual_seed(3))
    inside = (out != x).any(dim=1, keepdim=True).expand_as(out)
    low = torch.where(inside, out, torch.ones_like(out)).amin(dim=(1, 2, 3))
    high = torch.where(inside, out, torch.zeros_like(out)).amax(dim=(1, 2, 3))
    white, black, checker = (low == 1), (high == 0), (low == 0) & (high == 1)
    assert 0.2 < white.float().mean() < 0.35
    assert 0.2 < black.float().mean() < 0.35
    assert 0.12 < checker.float().mean() < 0.3
    assert 0.2 < (~white & ~black & ~checker).float().mean() < 0.3


@pytest.mark.parametrize(("x", "side"), [(torch.zeros(3, 8, 8), 4), (torch.zeros(1, 1, 8, 8), 0)])
def test_bad_input_is_refused(x, side) -> None:
    with pytest.raises(ValueError, match=r"shape|max_side"):
        random_patches(x, torch.Generator(), side)
