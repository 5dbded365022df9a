"""Neurotoxin: which coordinates may move, and that no other does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from attacks.uploads.neurotoxin import LAST_GLOBAL, Neurotoxin, smallest, smallest_per_layer
from fedcrucible_core.config.sections import PoisonSection, TrainingSection
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.models import ResNet8
from fedcrucible_core.learning.vector import Slot, flatten_parameters, load_parameters
from tests.support.attack_view_fake import LocalView, fake_view


def resnet() -> nn.Module:
    return ResNet8(width=4).build(DataInfo("d", tuple("abc"), (1, 12, 12), (0.5,), (0.5,)), 1)


def view(attack: Neurotoxin, **more: object) -> LocalView:
    data = Labeled(torch.rand(24, 1, 12, 12, generator=torch.Generator().manual_seed(2)), torch.arange(24) % 3)
    more.setdefault("training", TrainingSection(batch_size=8, lr=0.1, local_epochs=2, weight_decay=0.01))
    section = PoisonSection(ratio=1.0)
    return fake_view(resnet(), data, poison=section, **more)


def test_smallest_magnitudes_are_kept_not_the_most_negative() -> None:
    # Pitfall: partition of signed values keeps the most negative coordinates, however large.
    values = torch.tensor([-9.0, 0.1, 5.0, -0.2, 3.0])
    assert smallest(values, 0.4).tolist() == [False, True, False, True, False]


def test_the_ratio_is_the_share_that_is_kept() -> None:
    # Pitfall: the opposite convention, a ratio of masked coordinates.
    values = torch.arange(1.0, 1001.0)
    kept = smallest(values, 0.95)
    assert int(kept.sum()) == 950
    assert bool(kept[:950].all())


@pytest.mark.parametrize(("ratio", "count"), [(1.0, 7), (0.5, 4), (0.05, 0), (0.1, 1)])
def test_counts_are_rounded_half_up(ratio: float, count: int) -> None:
    assert int(smallest(torch.arange(7.0), ratio).sum()) == count


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.integers(-4, 4), min_size=1, max_size=40), ratio=st.floats(0.01, 1.0))
def test_ties_are_cut_to_the_exact_count_first_come(values: list[int], ratio: float) -> None:
    kept = smallest(torch.tensor(values, dtype=torch.float32), ratio)
    count = int(ratio * len(values) + 0.5)
    expected = sorted(range(len(values)), key=lambda i: (abs(values[i]), i))[:count]
    assert kept.nonzero().flatten().tolist() == sorted(expected)


def test_per_layer_takes_the_share_of_every_layer() -> None:
    values = torch.tensor([1.0, 2.0, 100.0, 200.0])
    slots = (Slot("a", 0, torch.Size([2]), False), Slot("b", 2, torch.Size([2]), False))
    assert smallest(values, 0.5).tolist() == [True, True, False, False]
    assert smallest_per_layer(values, 0.5, slots).tolist() == [True, False, True, False]


@pytest.mark.parametrize("per_layer", [True, False])
@pytest.mark.parametrize("clip", [0.0, 0.1])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_masked_coordinates_are_uploaded_exactly_as_received(per_layer: bool, clip: float, momentum: float) -> None:
    attack = Neurotoxin(mask_ratio=0.7, per_layer=per_layer, clip=clip)
    training = TrainingSection(batch_size=8, lr=0.1, local_epochs=2, weight_decay=0.01, momentum=momentum)
    seen = view(attack, training=training)
    kept = attack.kept(seen)
    update = attack.upload(seen).parameters - seen.w_global
    assert bool((update[~kept] == 0).all())
    assert float((update[kept] != 0).float().mean()) > 0.8
    assert 0.65 < float(kept.float().mean()) < 0.75


def test_the_reference_is_the_clean_gradient() -> None:
    attack = Neurotoxin(mask_ratio=0.6, per_layer=False)
    seen = view(attack)
    gradient = np.abs(seen.gradient(seen.clean).double().numpy())
    kept = attack.kept(seen).numpy()
    assert gradient[kept].max() <= gradient[~kept].min()


def test_clip_bounds_the_update() -> None:
    attack = Neurotoxin(clip=0.2)
    seen = view(attack)
    length = float((attack.upload(seen).parameters - seen.w_global).double().norm())
    assert 0.1 < length <= 0.2


def test_nothing_masked_is_plain_poisoned_training() -> None:
    attack = Neurotoxin(mask_ratio=1.0)
    seen = view(attack, training=TrainingSection(batch_size=8))
    assert torch.equal(attack.upload(seen).parameters, seen.train(seen.poisoned).parameters)


def test_the_last_global_move_is_remembered() -> None:
    attack = Neurotoxin(mask_ratio=0.5, reference="last-update", per_layer=False)
    first = view(attack)
    by_gradient = Neurotoxin(mask_ratio=0.5, per_layer=False).kept(first)
    assert torch.equal(attack.kept(first), by_gradient), "no move is known yet"
    assert torch.equal(first.memory[LAST_GLOBAL], first.w_global)
    model = resnet()
    move = torch.randn(len(first.w_global), generator=torch.Generator().manual_seed(4))
    load_parameters(model, flatten_parameters(model) + move)
    second = fake_view(model, first.clean, memory=dict(first.memory))
    kept = attack.kept(second)
    assert float(move[kept].abs().max()) <= float(move[~kept].abs().min()) + 1e-6
    assert torch.equal(second.memory[LAST_GLOBAL], second.w_global)


def test_without_last_update_nothing_is_remembered() -> None:
    seen = view(Neurotoxin())
    Neurotoxin().upload(seen)
    assert seen.memory == {}
