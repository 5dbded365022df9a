from __future__ import annotations

import math

import pytest
import torch
from scipy.fft import dctn

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.sections import SyntheticSection
from fedcrucible_core.foundation.frequency import (
    FrequencyAugmentation,
    band_energies,
    band_masks,
    dct2,
    idct2,
    noise_in_band,
    sensitivities,
    strongest_band,
)


def images(n=64, channels=3, size=32, seed: int = 0):
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(seed))


def rng(seed: int = 0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("n", "k", "sizes"),
    [
        (32, 3, [136, 392, 496]),
        (32, 4, [36, 100, 392, 496]),
        (32, 5, [10, 26, 100, 392, 496]),
        (8, 3, [10, 26, 28]),
        (8, 4, [3, 7, 26, 28]),
        (4, 3, [3, 7, 6]),
        (32, 1, [1024]),
    ],
)
def test_band_sizes(n, k, sizes) -> None:
    assert band_masks(n, k).sum(dim=(1, 2)).tolist() == sizes


@pytest.mark.parametrize("n", [4, 7, 8, 28, 32, 33])
@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_bands_are_disjoint_cover_and_follow_the_definition(n, k) -> None:
    masks = band_masks(n, k)
    assert (masks.sum(dim=0) == 1).all()
    for u in range(n):
        for v in range(n):
            s = (u + v) / (2 * n)
            slow = next(b for b in range(1, k + 1) if s < 2.0 ** -(k - b))
            assert masks[slow - 1, u, v]


def test_too_many_bands_for_the_image_are_refused() -> None:
    assert len(band_masks(28, 6)) == 6
    with pytest.raises(ConfigError, match=r"synthetic\.bands = 12: leaves an empty band for 28 x 28"):
        band_masks(28, 12)


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
@pytest.mark.parametrize("size", [4, 28, 32])
def test_transform_matches_scipy_and_inverts(dtype, atol, size) -> None:
    x = images(5, size=size).to(dtype)
    assert torch.allclose(idct2(dct2(x)), x, atol=min(atol, 1e-6), rtol=0)
    reference = torch.from_numpy(dctn(x.double().numpy(), axes=(-2, -1), norm="ortho")).to(dtype)
    assert torch.allclose(dct2(x), reference, atol=10 * atol, rtol=0)


def test_band_spectra_sum_to_the_spectrum_and_energies_to_the_pixel_energy() -> None:
    spectrum = dct2(images(4))
    parts = spectrum[:, None] * band_masks(32, 4)[None, :, None]
    assert torch.equal(parts.sum(dim=1), spectrum)
    difference = images(4).double() - images(4, seed=1).double()
    energy = band_energies(difference, 4)
    assert torch.allclose(energy.sum(dim=1), difference.square().sum(dim=(1, 2, 3)) / 3)


def test_impulse_in_a_4x4_image() -> None:
    impulse = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    impulse[..., 0, 0] = 1
    energy = band_energies(impulse, 3)
    expected = torch.tensor([[0.09196, 0.07959, 0.02783]], dtype=torch.float64)
    assert torch.allclose(sensitivities(energy, 4, "band"), expected, atol=5e-6)
    assert math.isclose(float(energy.sum()), 1.0, abs_tol=1e-12)


def test_constant_difference_is_in_the_lowest_band_only() -> None:
    energy = band_energies(torch.full((1, 3, 4, 4), 0.3, dtype=torch.float64), 3)
    assert energy[0, 0] > 1
    assert energy[0, 1:].abs().max() < 1e-20


def test_checkerboard_difference_is_strongest_in_the_highest_band() -> None:
    i = torch.arange(4)
    board = ((-1.0) ** (i[:, None] + i[None, :])).double()[None, None]
    per_cell = sensitivities(band_energies(board, 3), 4, "band")
    assert strongest_band(per_cell).tolist() == [2]
    assert abs(float(per_cell[0, 2]) - 2.60948) < 5e-6


TABLE = [
    # side, summed squared differences of bands 1..4, argmax with N^2, per-cell means, argmax per cell
    (1, [0.0184, 0.0111, 0.1048, 0.1157], 4, [0.000511, 0.000111, 0.000267, 0.000233], 1),
    (2, [0.2113, 0.1665, 0.5128, 0.1095], 3, [0.00587, 0.00167, 0.00131, 0.00022], 1),
    (3, [0.7369, 0.7726, 0.6256, 0.1149], 2, [0.02047, 0.00773, 0.00160, 0.00023], 1),
    (4, [1.668, 1.406, 0.8023, 0.1240], 1, [0.0463, 0.0141, 0.0020, 0.0003], 1),
]


def grey_with_patch(p):
    x = torch.full((1, 1, 32, 32), 0.5, dtype=torch.float64)
    x[..., 31 - p : 31, 31 - p : 31] = 1.0
    return x


@pytest.mark.parametrize(("p", "sums", "by_image", "means", "by_band"), TABLE)
def test_patch_table(p, sums, by_image, means, by_band) -> None:
    energy = band_energies(grey_with_patch(p) - 0.5, 4)[0]
    for k in range(4):
        assert abs(float(energy[k]) - sums[k]) <= (6e-4 if p == 4 else 6e-5)
        assert abs(float(sensitivities(energy, 32, "band")[k]) - means[k]) <= 6e-5
    assert int(strongest_band(sensitivities(energy, 32, "image"))) + 1 == by_image
    assert int(strongest_band(sensitivities(energy, 32, "band"))) + 1 == by_band


def test_argmax_moves_with_the_number_of_bands() -> None:
    assert int(strongest_band(band_energies(grey_with_patch(4) - 0.5, 5)[0])) + 1 == 3


@pytest.mark.parametrize(("p", "by_image", "by_band"), [(row[0], row[2], row[4]) for row in TABLE])
def test_a_given_trigger_chooses_the_band_of_the_table_and_both_readings_are_logged(p, by_image, by_band) -> None:
    x = torch.full((8, 1, 32, 32), 0.5)
    trigger = lambda x: grey_with_patch(p).float().expand_as(x)  # noqa: E731
    _, facts = FrequencyAugmentation()(x, rng(), trigger)
    assert facts["band"] == facts["band_image_average"] == by_image
    assert facts["band_band_average"] == by_band
    _, facts = FrequencyAugmentation(averaging="band")(x, rng(), trigger)
    assert facts["band"] == by_band


def test_ties_go_to_the_higher_band() -> None:
    assert strongest_band(torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [2.0, 1.0, 2.0]])).tolist() == [1, 2, 2]


@pytest.mark.parametrize("size", [28, 32])
@pytest.mark.parametrize("band", [1, 2, 3])  # bands with over 100 cells or nearly so
@pytest.mark.parametrize("rms", [0.02, 0.05, 0.1])
def test_noise_has_the_asked_rms_and_stays_in_its_band(size, band, rms) -> None:
    x = images(32, size=size).double()
    noisy = noise_in_band(x, torch.full((32,), band), 4, rms, rng())
    assert abs(float((noisy - x).square().mean().sqrt()) / rms - 1) < 0.1
    outside = (dct2(noisy) - dct2(x)) * ~band_masks(size, 4)[band]
    assert outside.abs().max() < 1e-6


def test_noise_is_centred_and_differs_between_images_and_channels() -> None:
    x = torch.zeros(200, 3, 16, 16)
    noise = noise_in_band(x, torch.zeros(200, dtype=torch.int64), 2, 0.05, rng())
    assert noise.mean().abs() < 2e-3
    assert not torch.equal(noise[0, 0], noise[0, 1])
    assert not torch.equal(noise[0], noise[1])


@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 32)])
def test_augmentation_keeps_shape_range_and_input_and_repeats_with_its_seed(channels, size) -> None:
    x = images(40, channels, size)
    before = x.clone()
    out, facts = FrequencyAugmentation()(x, rng(3))
    again, facts_again = FrequencyAugmentation()(x, rng(3))
    assert torch.equal(x, before)
    assert out.shape == x.shape
    assert out.dtype == x.dtype
    assert 0 <= out.min() <= out.max() <= 1
    assert torch.equal(out, again)
    assert facts == facts_again
    assert not torch.equal(out, FrequencyAugmentation()(x, rng(4))[0])
    assert 1 <= facts["band"] <= 4
    assert {"band_image_average", "band_band_average", "noise_sigma", "sensitivity_4"} <= set(facts)


def test_each_image_may_choose_its_own_band() -> None:
    x = torch.full((4, 1, 32, 32), 0.5)
    trigger = lambda x: torch.cat([grey_with_patch(p).float() for p in (1, 2, 3, 4)])  # noqa: E731
    out, facts = FrequencyAugmentation(per_image=True)(x, rng(), trigger)
    assert [facts[f"band_share_{k}"] for k in (1, 2, 3, 4)] == [0.25] * 4
    power = band_energies(out.double() - 0.5, 4)
    assert strongest_band(power).tolist() == [3, 2, 1, 0]


def test_no_noise_and_no_images_are_fine_but_oblong_images_are_not() -> None:
    x = images(4)
    out, _ = FrequencyAugmentation(rms=0.0)(x, rng())
    assert torch.allclose(out, x, atol=1e-6)
    assert FrequencyAugmentation()(x[:0], rng())[0].shape == (0, 3, 32, 32)
    with pytest.raises(ConfigError, match="square images"):
        FrequencyAugmentation()(torch.zeros(2, 1, 28, 32), rng())


def test_parameters_come_from_the_synthetic_section() -> None:
    section = SyntheticSection(bands=3, noise_rms=0.1, band_average="band", band_choice="image", patch_max_side=2)
    augmentation = FrequencyAugmentation.from_section(section)
    expected = FrequencyAugmentation(bands=3, rms=0.1, averaging="band", per_image=True, patch_max_side=2)
    assert augmentation == expected
    assert FrequencyAugmentation.from_section(SyntheticSection()) == FrequencyAugmentation()
