"""WaNet's field, sampling and noise mode."""

import numpy as np
import pytest
import torch

from attacks.poisoners.wanet import WaNet
from fedcrucible_core.config.sections import PoisonSection
from tests.support.tiny_task import COLOUR, GREY, context, labelled, make_task, poisoned_rows, stamped


def identity(height: int, width: int) -> np.ndarray:
    """(x, y) of every pixel, corners at -1 and 1."""
    grid = np.empty((height, width, 2))
    for row, column in np.ndindex(height, width):
        grid[row, column] = (-1 + 2 * column / (width - 1), -1 + 2 * row / (height - 1))
    return grid


def sampled(image: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Bilinear, corners aligned, one pixel at a time."""
    _, height, width = image.shape
    out = np.zeros(image.shape)
    for row, column in np.ndindex(height, width):
        x, y = (grid[row, column, 0] + 1) / 2 * (width - 1), (grid[row, column, 1] + 1) / 2 * (height - 1)
        left, top = int(np.floor(x)), int(np.floor(y))
        for r, c in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
            if 0 <= r < height and 0 <= c < width:
                weight = max(0.0, 1 - abs(x - c)) * max(0.0, 1 - abs(y - r))
                out[:, row, column] += weight * image[:, r, c]
    return out


def field(attack: WaNet, side: int) -> np.ndarray:
    """P at every pixel, taken back from the grid (rescaled, so that nothing was clamped)."""
    grid = attack.grid(side, side).double().numpy()
    return np.asarray((grid / attack.grid_rescale - identity(side, side)) * side / attack.strength)


@pytest.mark.parametrize("shape", [COLOUR, GREY])
def test_no_strength_is_identity(shape) -> None:
    x = torch.rand(3, *shape)
    assert torch.allclose(stamped(WaNet(strength=0.0), x), x, atol=1e-5)


def test_the_field_passes_through_its_coarse_values_whose_mean_size_is_one() -> None:
    coarse = field(WaNet(grid_rescale=0.8), 28)[::9, ::9]
    assert coarse.shape == (4, 4, 2)
    assert np.abs(coarse).mean() == pytest.approx(1.0, abs=1e-4)
    assert np.abs(coarse).max() <= 1.0 / 0.25, "U(-1, 1) over its mean size"
    finer = field(WaNet(grid_rescale=0.8, grid_size=10), 28)[::3, ::3]
    assert np.abs(finer).mean() == pytest.approx(1.0, abs=1e-4)


def test_the_field_is_smooth() -> None:
    values = field(WaNet(grid_rescale=0.8), 28)
    assert np.abs(np.diff(values, axis=0)).max() < np.ptp(values) / 4, "coarse values are nine pixels apart"


@pytest.mark.parametrize("shape", [(2, 12, 12), (1, 28, 28), (1, 10, 16)])
@pytest.mark.parametrize("settings", [{}, {"strength": 4.0}, {"grid_rescale": 0.7}, {"grid_rescale": 1.5}])
def test_sampling_against_loops(shape, settings) -> None:
    attack, x = WaNet(**settings), torch.rand(2, *shape, generator=torch.Generator().manual_seed(2))
    grid = attack.grid(shape[1], shape[2]).double().numpy()
    assert np.abs(grid).max() <= 1.0
    expected = np.stack([sampled(image, grid) for image in x.double().numpy()])
    assert np.allclose(stamped(attack, x).numpy(), expected, atol=1e-4)


def test_one_field_for_everybody() -> None:
    torch.manual_seed(0)
    first = WaNet().grid(28, 28)
    torch.manual_seed(1)
    assert torch.equal(WaNet().grid(28, 28), first)
    assert not torch.equal(WaNet(seed=1).grid(28, 28), first)


def test_noise_images_stray_from_the_grid_by_less_than_a_pixel_and_differ() -> None:
    """The image holds its own coordinates, so sampling it tells where each pixel was taken from."""
    side = 28
    where = torch.from_numpy(identity(side, side)).permute(2, 0, 1).float() / 2 + 0.5
    x = where[None].expand(6, -1, -1, -1).contiguous()
    attack = WaNet()
    bent = stamped(attack, x)
    noisy = attack.decoys(x, x, context(seed=4))
    gap = (noisy - bent) * 2
    assert 0.9 / side < float(gap.abs().max()) <= 1.0 / side + 1e-5
    assert abs(float(gap[:, :, 2:-2, 2:-2].mean())) < 0.1 / side
    assert not torch.equal(noisy[0], noisy[1]), "noise of its own for every image"
    assert not torch.equal(noisy, attack.decoys(x, x, context(seed=5)))


@pytest.mark.parametrize(("ratio", "poisoned", "noise"), [(0.1, 4, 8), (0.2, 8, 16), (0.5, 20, 20), (1.0, 40, 0)])
def test_noise_mode_adds_cross_ratio_images_with_true_labels(ratio, poisoned, noise) -> None:
    data = labelled(48)
    section = PoisonSection(target_label=2, ratio=ratio)
    px, py = poisoned_rows(WaNet(), section, context(make_task(data)), torch.arange(48))
    changed = (px != data.for_model()).flatten(1).any(1)
    relabelled = py != data.labels
    assert int(relabelled.sum()) == poisoned
    assert int((changed & ~relabelled).sum()) == noise
    assert not bool(changed[data.labels == 2].any())


def test_noise_mode_can_be_off() -> None:
    data = labelled(48)
    section = PoisonSection(target_label=2, ratio=0.5)
    px, py = poisoned_rows(WaNet(cross_ratio=0.0), section, context(make_task(data)), torch.arange(48))
    assert torch.equal((px != data.for_model()).flatten(1).any(1), py != data.labels)
