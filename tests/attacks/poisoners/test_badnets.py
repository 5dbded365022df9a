"""BadNets' patch, knob by knob."""

import pytest
import torch
from pydantic import ValidationError

from attacks.poisoners.badnets import BadNets
from fedcrucible_core.config import ConfigError
from tests.support.tiny_task import context, labelled, make_task, stamped, train_form

CIFAR = (3, 32, 32)


def changed(attack: BadNets, shape: tuple[int, int, int] = CIFAR) -> torch.Tensor:
    """Coordinates of changed pixels in the first channel of a grey image."""
    x = torch.full((1, *shape), 0.5)
    return (stamped(attack, x)[0, 0] != 0.5).nonzero()


def corners(attack: BadNets, shape: tuple[int, int, int] = CIFAR) -> tuple[list[int], list[int]]:
    where = changed(attack, shape)
    return where.min(0).values.tolist(), where.max(0).values.tolist()


def test_nine_cells_of_three_channels_turn_white() -> None:
    x = torch.full((2, *CIFAR), 0.25)
    triggered = stamped(BadNets(), x)
    assert int((triggered != x).sum()) == 2 * 27
    assert torch.equal(triggered[:, :, 29:, 29:], torch.ones(2, 3, 3, 3))


def test_layer_poisoning_code_uses_five_by_five_at_27() -> None:
    assert corners(BadNets(size=5)) == ([27, 27], [31, 31])
    assert corners(BadNets(size=5, row=27, col=27)) == ([27, 27], [31, 31])


@pytest.mark.parametrize(
    ("position", "first"),
    [
        ("bottom-right", [28, 28]),
        ("bottom-left", [28, 1]),
        ("top-left", [1, 1]),
        ("top-right", [1, 28]),
        ("center", [14, 14]),
    ],
)
def test_positions_and_margin(position, first) -> None:
    attack = BadNets(position=position, margin=1)
    low, high = corners(attack)
    assert low == first
    assert [end - start for start, end in zip(low, high, strict=True)] == [2, 2]


@pytest.mark.parametrize(
    ("size", "height", "side"),
    [(3, 32, 3), (3, 28, 3), (3, 224, 21), (5, 64, 10), (4, 28, 4), (1, 8, 1), (2, 24, 2), (1, 48, 2)],
)
def test_size_scales_with_height_rounded_half_up(size, height, side) -> None:
    assert int(BadNets(size=size).mask((1, height, height)).sum()) == side * side


def test_wide_images_keep_a_square() -> None:
    assert corners(BadNets(), (3, 32, 48)) == ([29, 45], [31, 47])


@pytest.mark.parametrize(
    ("colour", "expected"),
    [("white", [1, 1, 1]), ("Black", [0, 0, 0]), ("0.3", [0.3] * 3), (0.3, [0.3] * 3), ("1, 0.5,0", [1, 0.5, 0])],
)
def test_colours(colour, expected) -> None:
    patch = stamped(BadNets(colour=colour), torch.full((1, *CIFAR), 0.7))[0, :, 31, 31]
    assert patch.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("colour", ["red", "1.5", "-0.1", "1,0", "1,0,2", "", "nan"])
def test_what_is_no_colour_is_refused(colour) -> None:
    with pytest.raises(ValidationError, match="is no colour"):
        BadNets(colour=colour)


def test_opacity_blends() -> None:
    x = torch.full((1, *CIFAR), 0.4)
    assert float(stamped(BadNets(opacity=0.25), x)[0, 0, 31, 31]) == pytest.approx(0.75 * 0.4 + 0.25)
    assert torch.equal(stamped(BadNets(opacity=0.0), x), x)


@pytest.mark.parametrize("settings", [{"size": 33}, {"row": 30}, {"col": 31}, {"size": 30, "margin": 3}])
def test_a_patch_that_does_not_fit_is_named(settings) -> None:
    with pytest.raises(ConfigError, match=r"attack.badnets.size = \d+: a .* patch at row .* doesn't fit"):
        BadNets(**settings).mask(CIFAR)


def test_three_colours_need_three_channels() -> None:
    with pytest.raises(ConfigError, match=r"attack.badnets.colour = '1,0,0': allowed: one value"):
        stamped(BadNets(colour="1,0,0"), torch.zeros(1, 1, 28, 28))


def test_training_and_test_form_are_the_same_trigger() -> None:
    x = torch.rand(4, *CIFAR)
    px, py = train_form(BadNets(), x, torch.arange(4), context(make_task(labelled(4), target=5), part=3))
    assert torch.equal(px, stamped(BadNets(), x))
    assert py.tolist() == [5] * 4
