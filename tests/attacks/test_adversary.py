"""``attack.name`` takes an attack of any kind; ``attack.trigger`` says what others than poisoners plant."""

from __future__ import annotations

import pytest
import torch

from attacks.adversary import ATTACKS, Adversary
from attacks.compromise import COMPROMISES
from attacks.poisoner import POISONERS
from attacks.poisoners.badnets import BadNets
from attacks.uploader import UPLOADERS, PlainUpload
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.load import load
from fedcrucible_core.config.values import Scalar

UNTARGETED = {"gaussian", "sign-flip", "ipm", "alie", "min-max", "min-sum"}


def adversary(name: str, trigger: str = "badnets", **more: Scalar) -> Adversary:
    keys = {key.replace("__", "."): value for key, value in more.items()}
    return Adversary.of(load({"attack.name": name, "attack.trigger": trigger, **keys}))


@pytest.mark.parametrize("name", list(POISONERS))
def test_a_poisoner_uploads_what_it_trained(name: str) -> None:
    made = adversary(name)
    assert made.poisoner.name == name
    assert isinstance(made.uploader, PlainUpload)


@pytest.mark.parametrize("name", list(UPLOADERS))
def test_an_upload_attack_plants_badnets_unless_it_is_untargeted(name: str) -> None:
    made = adversary(name)
    assert made.uploader.name == name
    assert made.poisoner.name == ("none" if name in UNTARGETED else "badnets")
    assert made.uploader.plants is (name not in UNTARGETED)


def test_every_name_is_of_one_kind() -> None:
    kinds = [list(POISONERS), list(UPLOADERS), list(COMPROMISES)]
    assert sorted(ATTACKS) == sorted(name for kind in kinds for name in kind)


@pytest.mark.parametrize("name", list(COMPROMISES))
def test_an_attack_on_the_servers_data_plants_what_the_trigger_says(name: str) -> None:
    made = adversary(name, "blend")
    assert made.compromise is not None
    assert (made.compromise.name, made.poisoner.name) == (name, "blend")
    assert isinstance(made.uploader, PlainUpload)


@pytest.mark.parametrize("name", sorted(set(UPLOADERS) - UNTARGETED))
def test_the_triggers_own_section_sets_it(name: str) -> None:
    made = adversary(name, attack__badnets__size=5, attack__badnets__colour="black")
    assert made.poisoner == BadNets(size=5, colour="black")
    assert adversary(name, "edge-case", **{"attack__edge-case__rare_ratio": 0.5}).poisoner.natural


@pytest.mark.parametrize("name", ["lp", "lp-adaptive", "lf"])
@pytest.mark.parametrize("trigger", ["none", "label-flip"])
def test_layer_attacks_need_a_target(name: str, trigger: str) -> None:
    with pytest.raises(ConfigError, match=rf"attack.trigger = '{trigger}': {name} needs a target; .*badnets"):
        adversary(name, trigger)


def test_others_may_plant_nothing() -> None:
    assert not adversary("model-replacement", "none").poisoner.targeted


@pytest.mark.parametrize("trigger", ["lp", "sign-flip", "badnet", ""])
@pytest.mark.parametrize("name", ["lf", "badnets"])
def test_a_trigger_that_is_no_poisoner_is_refused(name: str, trigger: str) -> None:
    with pytest.raises(ConfigError, match=rf"attack.trigger = '{trigger}': .*allowed: .*badnets"):
        adversary(name, trigger)


@pytest.mark.parametrize(("typo", "meant"), [("badnet", "badnets"), ("neuro-toxin", "neurotoxin")])
def test_a_typo_is_answered_with_a_name_of_either_kind(typo: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=rf"attack.name = '{typo}': did you mean '{meant}'\? .*afa.*badnets.*pgd"):
        adversary(typo)


def test_every_number_of_alies_deviations_can_be_said() -> None:
    from attacks.uploader import CraftContext
    from attacks.uploads.alie import ALIE, largest_z

    benign = torch.tensor([[1.0], [3.0]])
    ctx = CraftContext(1, 0, 10, (), torch.Generator(), attackers=2)
    assert float(ALIE(z_max=0.0).common_update(benign, ctx)) == 2.0
    assert float(ALIE(z_max=2.0).common_update(benign, ctx)) == 0.0
    assert float(ALIE().common_update(benign, ctx)) == pytest.approx(2.0 - largest_z(10, 2))
