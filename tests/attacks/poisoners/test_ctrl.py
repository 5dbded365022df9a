"""Raised frequencies: against transforms in float64, clipped before they are cast, colour alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from attacks.poisoners.ctrl import Ctrl
from attacks.poisoners.ctrl_luma import CtrlLuma
from attacks.support.frequency_trigger import RaisedFrequencies
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.sections import PoisonSection
from tests.support.tiny_task import COLOUR, GREY, context, labelled, make_task, poisoned_rows, stamped

TO_YUV = np.array([[0.299, 0.587, 0.114], [-0.299 * 0.492, -0.587 * 0.492, 0.886 * 0.492],
                   [0.701 * 0.877, -0.587 * 0.877, -0.114 * 0.877]])  # fmt: skip


def dct_matrix(n: int) -> np.ndarray:
    """Orthonormal DCT-II: row k holds what coefficient k takes of each pixel."""
    rows = [[math.cos(math.pi * (2 * j + 1) * k / (2 * n)) for j in range(n)] for k in range(n)]
    made: np.ndarray = np.array(rows) * math.sqrt(2 / n) * np.array([math.sqrt(0.5)] + [1.0] * (n - 1))[:, None]
    return made


def in_colour(image: np.ndarray, magnitude: float) -> np.ndarray:
    """CTRL step by step: to YUV, DCT of U and V, two coefficients up, back, clip. ``[3, N, N]`` in [0, 255]."""
    n = image.shape[1]
    d = dct_matrix(n)
    yuv = np.einsum("ij,jhw->ihw", TO_YUV, image)
    for plane in (1, 2):
        coefficients = d @ yuv[plane] @ d.T
        for place in (n // 2 - 1, n - 1):
            coefficients[place, place] += magnitude
        yuv[plane] = d.T @ coefficients @ d
    back: np.ndarray = np.clip(np.einsum("ij,jhw->ihw", np.linalg.inv(TO_YUV), yuv), 0, 255)
    return back


@pytest.mark.parametrize("magnitude", [100.0, 300.0])
def test_colour_against_the_transforms(magnitude: float) -> None:
    x = torch.rand(3, *COLOUR, generator=torch.Generator().manual_seed(1))
    found = stamped(Ctrl(magnitude=magnitude), x)
    for image, made in zip(x, found, strict=True):
        assert np.allclose(made.double().numpy() * 255, in_colour(image.double().numpy() * 255, magnitude), atol=1e-3)


def test_only_two_coefficients_of_two_planes_differ() -> None:
    x = torch.full((1, *COLOUR), 0.5)
    change = (stamped(Ctrl(), x) - x)[0].double().numpy() * 255
    d = dct_matrix(32)
    planes = [d @ plane @ d.T for plane in np.einsum("ij,jhw->ihw", TO_YUV, change)]
    expected = np.zeros((32, 32))
    expected[15, 15] = expected[31, 31] = 100.0
    assert np.allclose(planes[0], 0.0, atol=1e-3), "brightness stays"
    for plane in planes[1:]:
        assert np.allclose(plane, expected, atol=1e-3)


@pytest.mark.parametrize(("poisoner", "shape"), [(Ctrl(), COLOUR), (CtrlLuma(), GREY), (CtrlLuma(), COLOUR)])
def test_what_is_added_is_the_same_for_every_image(poisoner: RaisedFrequencies, shape: tuple[int, int, int]) -> None:
    x = 0.3 + 0.4 * torch.rand(4, *shape, generator=torch.Generator().manual_seed(2))
    change = stamped(poisoner, x) - x
    assert torch.allclose(change, change[:1].expand_as(change), atol=1e-6)


@pytest.mark.parametrize(("poisoner", "shape"), [(Ctrl(magnitude=400.0), COLOUR), (CtrlLuma(magnitude=400.0), GREY)])
def test_bright_and_dark_pixels_are_clipped_not_wrapped(
    poisoner: RaisedFrequencies, shape: tuple[int, int, int]
) -> None:
    """Public code casts to bytes before it clips: 250 + 20 became 14 there."""
    for value in (0.0, 0.02, 0.98, 1.0):
        x = torch.full((1, *shape), value)
        found = stamped(poisoner, x)
        wave = poisoner.added(shape) * 400.0 / 255.0
        assert bool((found[0].double() - x[0].double())[wave > 0].min() >= -1e-6), "what is raised never gets darker"
        assert bool((found[0].double() - x[0].double())[wave < 0].max() <= 1e-6)


def test_luma_on_grey_images_is_the_worked_number() -> None:
    x = torch.full((1, *GREY), 0.5)
    for magnitude, most, psnr in ((100.0, 12.2, 34.06), (200.0, 24.4, 28.04)):
        change = (stamped(CtrlLuma(magnitude=magnitude), x) - x).double() * 255
        assert float(change.abs().max()) == pytest.approx(most, abs=0.1)
        assert 10 * math.log10(255**2 / float(change.pow(2).mean())) == pytest.approx(psnr, abs=0.01)
    d = dct_matrix(28)
    coefficients = d @ change[0, 0].numpy() @ d.T
    assert sorted(map(tuple, np.argwhere(np.abs(coefficients) > 1e-3).tolist())) == [(13, 13), (27, 27)]


def test_grey_images_have_no_colour_planes() -> None:
    with pytest.raises(ConfigError, match=r"ctrl-luma") as caught:
        Ctrl().check_task(make_task(labelled(6, GREY)))
    assert caught.value.key == "attack.name"
    Ctrl().check_task(make_task(labelled(6, COLOUR)))


def test_training_and_test_may_differ_in_magnitude() -> None:
    x, y, ctx = torch.full((1, *GREY), 0.5), torch.zeros(1, dtype=torch.int64), context()
    both = CtrlLuma(magnitude=100.0, test_magnitude=200.0)
    assert torch.equal(both.plant(x, y, ctx), CtrlLuma(magnitude=100.0).stamp(x, y, ctx))
    assert torch.equal(both.stamp(x, y, ctx), CtrlLuma(magnitude=200.0).stamp(x, y, ctx))
    assert torch.equal(CtrlLuma(test_magnitude=0.0).stamp(x, y, ctx), x), "0 is a magnitude, -1 means as in training"


def test_a_reader_is_told_of_the_deviation() -> None:
    (weak,), (dirty,) = CtrlLuma().notes(1), CtrlLuma(labels="target").notes(1)
    assert "deviation" in weak
    assert "weak" in weak
    assert "weak" not in dirty


def test_labels_stay_or_become_the_target() -> None:
    data = labelled(60, GREY)
    section = PoisonSection(target_label=2, ratio=0.5)
    _, labels = poisoned_rows(CtrlLuma(), section, context(make_task(data)))
    assert torch.equal(labels, data.labels)
    x, labels = poisoned_rows(CtrlLuma(labels="target"), section, context(make_task(data)))
    changed = (x != data.for_model()).flatten(1).any(1)
    assert int(changed.sum()) == 25
    assert bool((data.labels[changed] != 2).all())
    assert bool((labels[changed] == 2).all())
