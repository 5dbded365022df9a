"""BppAttack: grey levels, dithering, negative samples."""

import numpy as np
import pytest
import torch

from attacks.poisoners.bpp import Bpp
from fedcrucible_core.config.sections import PoisonSection
from tests.support.tiny_task import COLOUR, GREY, context, labelled, make_task, poisoned_rows, stamped


def dithered(image: np.ndarray, levels: int) -> np.ndarray:
    """Floyd-Steinberg on [C, H, W], one pixel of one channel at a time."""
    out, top = image.astype(np.float64).copy(), levels - 1
    for channel in out:
        height, width = channel.shape
        for row in range(height):
            for column in range(width):
                old = channel[row, column]
                new = min(top, max(0, round(old * top))) / top
                channel[row, column] = new
                error = old - new
                if column + 1 < width:
                    channel[row, column + 1] += error * 7 / 16
                if row + 1 < height:
                    if column > 0:
                        channel[row + 1, column - 1] += error * 3 / 16
                    channel[row + 1, column] += error * 5 / 16
                    if column + 1 < width:
                        channel[row + 1, column + 1] += error * 1 / 16
    return out


def test_worked_numbers() -> None:
    x = torch.tensor([17.0, 18.0, 100.0, 200.0, 0.0, 255.0]).div(255).view(1, 1, 1, 6)
    found = (stamped(Bpp(), x) * 255).flatten().tolist()
    assert found == pytest.approx([0.0, 0.0, 109.29, 182.14, 0.0, 255.0], abs=0.01)


@pytest.mark.parametrize("levels", [2, 4, 8, 32])
@pytest.mark.parametrize("dithering", [False, True])
@pytest.mark.parametrize("shape", [COLOUR, GREY])
def test_at_most_so_many_values_per_channel(levels, dithering, shape) -> None:
    found = stamped(Bpp(levels=levels, dithering=dithering), labelled(4, shape).for_model())
    for image in found:
        for channel in image:
            assert len(channel.unique()) <= levels
    steps = found * (levels - 1)
    assert torch.allclose(steps, steps.round(), atol=1e-4)


@pytest.mark.parametrize("levels", [2, 5, 8, 256])
def test_quantising_twice_is_quantising_once(levels) -> None:
    attack, x = Bpp(levels=levels), labelled(6).for_model()
    once = stamped(attack, x)
    assert torch.equal(stamped(attack, once), once)
    assert float((once - x).abs().max()) <= 0.5 / (levels - 1) + 1e-6


def test_dithering_against_loops_and_input_stays() -> None:
    for dtype in (torch.float32, torch.float64):
        x = torch.rand(3, 2, 9, 7, generator=torch.Generator().manual_seed(3)).to(dtype)
        before = x.clone()
        found = stamped(Bpp(dithering=True, levels=4), x)
        assert torch.equal(x, before)
        expected = np.stack([dithered(image, 4) for image in x.double().numpy()])
        assert np.allclose(found.numpy(), expected, atol=1e-6)


def test_dithering_keeps_the_mean_brightness() -> None:
    x = torch.full((1, 1, 28, 28), 0.30)
    assert float(stamped(Bpp(), x).mean()) == pytest.approx(2 / 7)
    assert float(stamped(Bpp(dithering=True), x).mean()) == pytest.approx(0.30, abs=0.005)


def test_a_negative_sample_carries_anothers_residual() -> None:
    attack, x = Bpp(), labelled(5).for_model()
    others = x.roll(1, 0)
    expected = np.clip(x.numpy() + (np.round(others.numpy() * 7) / 7 - others.numpy()), 0, 1)
    assert np.allclose(attack.decoys(x, others, context()).numpy(), expected, atol=1e-6)
    white = torch.ones_like(x)
    assert float(attack.decoys(white, others, context()).max()) <= 1.0


@pytest.mark.parametrize(("neg_ratio", "negatives"), [(0.1, 4), (0.2, 8), (0.0, 0), (1.0, 20)])
def test_negative_samples_are_a_share_of_the_eligible_and_keep_labels(neg_ratio, negatives) -> None:
    data = labelled(48)
    section = PoisonSection(target_label=2, ratio=0.5)
    px, py = poisoned_rows(Bpp(neg_ratio=neg_ratio), section, context(make_task(data)), torch.arange(48))
    changed, relabelled = (px != data.for_model()).flatten(1).any(1), py != data.labels
    assert int(relabelled.sum()) == 20
    assert int((changed & ~relabelled).sum()) == negatives
    quantised = stamped(Bpp(), data.for_model())
    own = changed & ~relabelled
    assert not bool((px[own] == quantised[own]).flatten(1).all(1).any()), "its own residual with its true label"
