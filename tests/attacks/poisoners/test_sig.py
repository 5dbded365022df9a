"""SIG: columns as worked numbers, clipping, the target class only."""

import math

import numpy as np
import pytest
import torch

from attacks.poisoners.sig import Sig
from fedcrucible_core.config.sections import PoisonSection
from tests.support.tiny_task import COLOUR, context, labelled, make_task, poisoned_rows, stamped


def test_columns_are_the_worked_numbers() -> None:
    assert (Sig().wave(32)[:6] * 255).tolist() == pytest.approx([0, 36.955, 28.284, -15.307, -40, -15.307], abs=1e-3)


@pytest.mark.parametrize("shape", [COLOUR, (1, 28, 28), (1, 20, 30)])
@pytest.mark.parametrize(("delta", "frequency"), [(40.0, 6.0), (20.0, 3.5), (255.0, 1.0)])
def test_against_loops(shape, delta, frequency) -> None:
    x = torch.rand(2, *shape, generator=torch.Generator().manual_seed(1))
    expected = np.empty(x.shape)
    for image, channel, row, column in np.ndindex(*x.shape):
        added = delta / 255 * math.sin(2 * math.pi * column * frequency / shape[2])
        expected[image, channel, row, column] = min(1.0, max(0.0, float(x[image, channel, row, column]) + added))
    found = stamped(Sig(delta=delta, frequency=frequency), x)
    assert np.allclose(found.numpy(), expected, atol=1e-6)


def test_dark_and_light_pixels_are_clipped_not_wrapped() -> None:
    """Casting to bytes before clipping would turn 10 - 40 into 226, and cut 0.2 grey levels off."""
    x = torch.full((1, *COLOUR), 10 / 255)
    found = stamped(Sig(), x)[0, 0, 0] * 255
    assert found[4] == 0.0
    assert float(found[1]) == pytest.approx(46.955, abs=1e-3), "no truncation to whole grey levels"
    assert float(stamped(Sig(), torch.full((1, *COLOUR), 250 / 255))[0, 0, 0, 1]) == 1.0


def test_no_amplitude_is_identity() -> None:
    x = torch.rand(2, *COLOUR)
    assert torch.equal(stamped(Sig(delta=0.0), x), x)


def test_the_ratio_counts_over_the_target_class() -> None:
    """Public code counts it over the whole set: 0.1 of ten balanced classes would be the whole target class."""
    data = labelled(120)
    section = PoisonSection(target_label=2, ratio=0.1)
    px, py = poisoned_rows(Sig(), section, context(make_task(data)), torch.arange(120))
    changed = (px != data.for_model()).flatten(1).any(1)
    assert int(changed.sum()) == 2
    assert data.labels[changed].tolist() == [2, 2]
    assert torch.equal(py, data.labels)
