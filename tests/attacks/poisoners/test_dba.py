"""DBA's four parts, and what public code gets wrong about them."""

import pytest
import torch
from pydantic import ValidationError

from attacks.poisoners.dba import Dba
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.sections import PoisonSection
from tests.support.tiny_task import COLOUR, GREY, context, labelled, make_task, poisoned_rows, stamped, train_form

SHAPES = [COLOUR, GREY, (3, 16, 16), (3, 64, 64), (3, 224, 224), (1, 28, 40)]
SETTINGS = [
    {},
    {"geometry": "square"},
    {"gap": 0},
    {"gap": 0, "shift": 2},
    {"geometry": "square", "side": 2, "shift": 1},
]


def parts(attack: Dba, shape: tuple[int, int, int]) -> list[torch.Tensor]:
    return [attack.part_mask(shape, part) for part in range(4)]


def cells(mask: torch.Tensor) -> list[tuple[int, int]]:
    return [(row, column) for row, column in mask[0].nonzero().tolist()]


def test_bars_lie_where_the_public_code_puts_them() -> None:
    starts = [(0, 0), (0, 9), (4, 0), (4, 9)]
    for mask, (row, column) in zip(parts(Dba(), COLOUR), starts, strict=True):
        assert cells(mask) == [(row, column + i) for i in range(6)]
        assert bool((mask == mask[0]).all()), "all channels"


def test_the_square_is_cut_into_2x2_2x3_3x2_3x3() -> None:
    masks = parts(Dba(geometry="square"), COLOUR)
    assert [int(mask[0].sum()) for mask in masks] == [4, 6, 6, 9]
    assert [cells(mask)[0] for mask in masks] == [(27, 27), (27, 29), (29, 27), (29, 29)]
    assert [cells(mask)[-1] for mask in masks] == [(28, 28), (28, 31), (31, 28), (31, 31)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("settings", SETTINGS)
def test_parts_are_disjoint_differ_and_make_up_the_test_trigger(shape, settings) -> None:
    attack = Dba(**settings)
    masks = parts(attack, shape)
    assert all(bool(mask.any()) for mask in masks)
    assert int(sum(mask.sum() for mask in masks)) == int(torch.stack(masks).any(0).sum()), "disjoint"
    assert torch.equal(torch.stack(masks).any(0), attack.mask(shape))
    x = torch.full((1, *shape), 0.5)
    assert torch.equal(stamped(attack, x)[0] != x[0], attack.mask(shape))


@pytest.mark.parametrize("settings", SETTINGS)
def test_each_attacker_stamps_its_own_part_and_all_are_tested(settings) -> None:
    """In one public framework all four parts and the test trigger are the same pixels."""
    attack, data = Dba(**settings), labelled(12)
    task, x = make_task(data), data.for_model()
    changed = []
    for part in range(8):
        px, py = train_form(attack, x, data.labels, context(task, part))
        changed.append((px != x).any(0))
        assert torch.equal(changed[-1], attack.part_mask(COLOUR, part % 4))
        assert py.tolist() == [2] * 12
    assert len({tuple(mask.flatten().tolist()) for mask in changed[:4]}) == 4
    assert torch.equal(torch.stack(changed[:4]).any(0), (stamped(attack, x) != x).any(0))
    assert all(torch.equal(changed[part], changed[part + 4]) for part in range(4)), "part = attacker number mod 4"


def test_two_attackers_leave_two_parts_untrained() -> None:
    attack, data = Dba(), labelled(48)
    task = make_task(data)
    section = PoisonSection(target_label=2, ratio=1.0)
    seen = torch.zeros(COLOUR, dtype=torch.bool)
    for part in range(2):
        px, _ = poisoned_rows(attack, section, context(task, part), torch.arange(48))
        seen |= (px != data.for_model()).any(0)
    assert torch.equal(seen, attack.part_mask(COLOUR, 0) | attack.part_mask(COLOUR, 1))
    assert bool((attack.mask(COLOUR) & ~seen).any())
    assert attack.notes(2) == ("2 attackers train 2 of the 4 parts of the trigger it is tested with",)
    assert attack.notes(3) != ()
    assert attack.notes(4) == attack.notes(30) == attack.notes(0) == ()


def test_sizes_follow_the_images_height() -> None:
    grey = parts(Dba(), GREY)
    assert [cells(mask)[0] for mask in grey] == [(0, 0), (0, 8), (4, 0), (4, 8)]
    assert [int(mask[0].sum()) for mask in grey] == [5] * 4, "6 * 28 / 32 = 5.25"
    large = parts(Dba(), (3, 64, 64))
    assert [cells(mask)[0] for mask in large] == [(0, 0), (0, 18), (8, 0), (8, 18)]
    assert [int(mask[0].sum()) for mask in large] == [24] * 4
    assert [int(mask[0].sum()) for mask in parts(Dba(geometry="square"), GREY)] == [4] * 4, "5 * 28 / 32 = 4.375"


def test_gap_shift_and_length_move_the_bars() -> None:
    masks = parts(Dba(length=4, gap=2, shift=5), COLOUR)
    assert [cells(mask)[0] for mask in masks] == [(5, 5), (5, 11), (8, 5), (8, 11)]
    assert [int(mask[0].sum()) for mask in masks] == [4] * 4
    assert cells(parts(Dba(geometry="square", shift=3), COLOUR)[3])[-1] == (28, 28)


def test_colour() -> None:
    x = torch.full((1, *COLOUR), 0.5)
    assert stamped(Dba(), x)[0, :, 0, 0].tolist() == [1.0] * 3
    assert stamped(Dba(colour="1,0,0"), x)[0, :, 4, 9].tolist() == [1.0, 0.0, 0.0]
    with pytest.raises(ConfigError, match=r"attack.dba.colour = '1,0,0': allowed: one value"):
        stamped(Dba(colour="1,0,0"), torch.zeros(1, *GREY))
    with pytest.raises(ValidationError, match="is no colour"):
        Dba(colour="red")


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"length": 15}, "length"),
        ({"shift": 28}, "length"),
        ({"geometry": "square", "side": 33}, "side"),
        ({"geometry": "square", "shift": 28}, "side"),
    ],
)
def test_a_trigger_that_does_not_fit_is_named(settings, key) -> None:
    with pytest.raises(ConfigError, match=rf"attack.dba.{key} = \d+: .*doesn't fit into images of 32x32"):
        Dba(**settings).mask(COLOUR)
