"""Poisoning a plain labelled set: no client, no partition, no malicious number."""

from __future__ import annotations

import pytest
import torch

from attacks.poison_set import poison_set
from attacks.poisoner import POISONERS
from attacks.poisoners.badnets import BadNets
from attacks.poisoners.dba import Dba
from attacks.poisoners.semantic import Semantic
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.sections import PoisonSection
from fedcrucible_core.learning.data import Labeled
from tests.support.tiny_task import labelled, make_task, stamped

ON_GREY = [name for name in POISONERS if POISONERS[name].task != "text" and name != "ctrl"]
"""Poisoners that take grey pictures; ctrl's trigger is one of colours."""
DATA = labelled(60, (1, 28, 28))
INFO = make_task(DATA).info


def differing(made: Labeled, data: Labeled) -> torch.Tensor:
    return (made.inputs != data.for_model()).flatten(1).any(1)


def test_a_central_set_at_a_ratio_with_the_truth() -> None:
    made = poison_set(BadNets(), DATA, INFO, PoisonSection(target_label=2, ratio=0.3), seed=1)
    assert int(made.poisoned.sum()) == 15, "0.3 of the 50 images of other classes"
    assert torch.equal(differing(made.data, DATA), made.poisoned)
    assert bool((made.data.labels[made.poisoned] == 2).all())
    assert torch.equal(made.data.labels[~made.poisoned], DATA.labels[~made.poisoned])
    assert not bool(made.decoys.any())
    assert torch.equal(made.data.inputs[made.poisoned], stamped(BadNets(), DATA.for_model()[made.poisoned]))


def test_the_seed_alone_decides() -> None:
    section = PoisonSection(ratio=0.5)
    first, again, other = (poison_set(BadNets(), DATA, INFO, section, seed=seed).poisoned for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_split_trigger_is_planted_whole() -> None:
    made = poison_set(Dba(), DATA, INFO, PoisonSection(ratio=1.0), seed=1)
    mask = Dba().mask((1, 28, 28))
    assert bool((made.data.inputs[made.poisoned][:, mask] == 1.0).all())


def test_decoys_are_told_apart() -> None:
    made = poison_set(POISONERS.create("wanet"), DATA, INFO, PoisonSection(ratio=0.1), seed=1)
    assert int(made.poisoned.sum()) == 5
    assert int(made.decoys.sum()) == 10
    assert not bool((made.poisoned & made.decoys).any())
    assert torch.equal(made.data.labels[made.decoys], DATA.labels[made.decoys])


def test_additions_are_poisoned_samples() -> None:
    made = poison_set(POISONERS.create("edge-case"), DATA, INFO, PoisonSection(), seed=1)
    assert not bool(made.poisoned[:60].any())
    assert bool(made.poisoned[60:].all())
    assert len(made.poisoned) > 60


@pytest.mark.parametrize("name", ON_GREY)
def test_the_servers_own_images_are_numbers_in_the_unit_range(name: str) -> None:
    """Synthetic images are float32 and may lie between grey levels; they are left as they are."""
    images = torch.rand(60, 1, 28, 28, generator=torch.Generator().manual_seed(3))
    before, data = images.clone(), Labeled(images, torch.arange(60) % 6)
    made = poison_set(POISONERS.create(name), data, INFO, PoisonSection(ratio=0.5), seed=1)
    assert torch.equal(images, before)
    clean = ~(made.poisoned | made.decoys)
    assert torch.equal(made.data.inputs[:60][clean[:60]], before[clean[:60]])


@pytest.mark.parametrize("name", ON_GREY)
def test_stored_pictures_and_their_floats_are_poisoned_alike(name: str) -> None:
    section, floats = PoisonSection(ratio=0.5), Labeled(DATA.for_model(), DATA.labels)
    stored, made = (poison_set(POISONERS.create(name), data, INFO, section, seed=1) for data in (DATA, floats))
    assert torch.equal(stored.poisoned, made.poisoned)
    assert torch.equal(stored.data.inputs, made.data.inputs)
    assert torch.equal(stored.data.labels, made.data.labels)


def test_settings_that_do_not_fit_the_set_are_refused() -> None:
    few = DATA.subset((DATA.labels != 2).nonzero().flatten())
    with pytest.raises(ConfigError, match=r"attack.semantic.rule"):
        poison_set(Semantic(), few, INFO, PoisonSection(), seed=1)
