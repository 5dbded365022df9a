"""Model-poisoning attacks plant another attack's trigger, with that attack's own settings."""

from __future__ import annotations

import pytest
import torch

from attacks.base import ATTACKS, Attack
from attacks.borrowed_trigger import BorrowedTrigger
from attacks.poisoners.badnets import BadNets
from attacks.poisoners.edge_case import EdgeCase
from attacks.poisoners.wanet import WaNet
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.load import load
from tests.support.tiny_task import context, labelled, make_task

BORROWERS = [name for name, cls in ATTACKS.classes().items() if issubclass(cls, BorrowedTrigger)]
IMAGES = torch.full((2, 3, 32, 32), 0.5)


def configured(name: str, **settings: str | int | float) -> Attack:
    config = load({"attack.name": name, **{key.replace("__", "."): value for key, value in settings.items()}})
    attack = config.component("attack", name)
    assert isinstance(attack, Attack)
    return attack


def test_every_backdoor_on_the_upload_borrows() -> None:
    expected = {"model-replacement", "constrain-and-scale", "pgd", "neurotoxin", "lp", "lp-adaptive", "lf", "afa"}
    assert expected <= set(BORROWERS)


@pytest.mark.parametrize("name", BORROWERS)
def test_the_triggers_own_section_sets_it(name: str) -> None:
    attack = configured(name, attack__badnets__size=5, attack__badnets__colour="black")
    expected = BadNets(size=5, colour="black")
    assert torch.equal(attack.poison_test(IMAGES), expected.poison_test(IMAGES))
    mask = attack.mask((3, 32, 32))
    assert mask is not None
    assert torch.equal(mask, expected.mask((3, 32, 32)))
    assert not torch.equal(attack.poison_test(IMAGES), configured(name).poison_test(IMAGES))


def test_without_configuration_the_trigger_has_its_defaults() -> None:
    assert torch.equal(ATTACKS.create("neurotoxin").poison_test(IMAGES), BadNets().poison_test(IMAGES))


def test_resolving_leaves_the_settings_object_alone() -> None:
    bare = ATTACKS.create("lp")
    built = bare.resolved(lambda name: BadNets(size=7))
    assert torch.equal(bare.poison_test(IMAGES), BadNets().poison_test(IMAGES))
    assert torch.equal(built.poison_test(IMAGES), BadNets(size=7).poison_test(IMAGES))
    assert built.tau == bare.tau


@pytest.mark.parametrize("trigger", ["lp", "none", "sign-flip", "badnet", ""])
def test_a_trigger_that_is_none_is_refused(trigger: str) -> None:
    with pytest.raises(ConfigError, match=rf"attack.lf.trigger = '{trigger}': .*allowed: .*badnets"):
        configured("lf", attack__lf__trigger=trigger)


def test_a_clean_label_trigger_stays_clean_label() -> None:
    class Clean(BadNets):
        """Whitens target images."""

        clean_label = True

    built = ATTACKS.create("lp").resolved(lambda name: Clean())
    assert built.clean_label
    assert not ATTACKS.create("lp").clean_label


@pytest.mark.parametrize("name", BORROWERS)
def test_natural_inputs_are_borrowed_like_triggers(name: str) -> None:
    attack = configured(name, **{f"attack__{name}__trigger": "edge-case", "attack__edge-case__rare_ratio": 0.5})
    lender, data = EdgeCase(rare_ratio=0.5), labelled(24)
    task = make_task(data)
    assert (attack.natural, attack.has_trigger, attack.targeted, attack.poisons_own) == (True, False, True, False)
    assert attack.inputs == lender.inputs
    assert torch.equal(attack.carriers(data, task), lender.carriers(data, task))
    ours, theirs = (a.additions(torch.arange(12), context(task)) for a in (attack, lender))
    assert ours is not None
    assert torch.equal(ours[0], theirs[0])
    assert torch.equal(ours[1], theirs[1])
    with pytest.raises(ConfigError, match=r"attack.edge-case.source_class"):
        configured(name, **{f"attack__{name}__trigger": "edge-case", "attack__edge-case__source_class": 2}).check_task(
            task
        )


def test_decoys_and_notes_are_borrowed_too() -> None:
    attack, lender = configured("lp", attack__lp__trigger="wanet"), WaNet()
    x = labelled(6).for_model()
    assert attack.decoy_count(10, 100) == lender.decoy_count(10, 100) > 0
    assert torch.equal(attack.decoys(x, x.flip(0), context()), lender.decoys(x, x.flip(0), context()))
    dba = configured("pgd", attack__pgd__trigger="dba")
    assert dba.notes(2) == ATTACKS.create("dba").notes(2) != ()


def test_every_method_of_the_data_side_is_borrowed() -> None:
    upload_side = {"hook", "malicious_model", "craft", "upload", "context", "check_run", "resolved"}
    components = set(dir(Attack.__mro__[1]))
    needed = {n for n in vars(Attack) if not n.startswith("_") and n not in components | upload_side}
    needed -= {"needs_benign_model", "needs_clean_updates"}
    assert needed - set(vars(BorrowedTrigger)) == set()
