"""AFA: the whole poisoned update turned round, against averaging and against sign votes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from attacks.uploader import CraftContext, RunFacts
from attacks.uploads.afa import AFA, flipped, named_slots
from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.vector import Slot

SLOTS = (
    Slot("features.0.weight", 0, torch.Size([2]), False),
    Slot("features.0.bias", 2, torch.Size([1]), False),
    Slot("classifier.weight", 3, torch.Size([2]), False),
    Slot("classifier.bias", 5, torch.Size([1]), False),
)
W_T = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
LOCAL = torch.tensor([1.5, 1.0, 3.0, 8.0, 4.0, 7.0])


def craft(attack: AFA) -> Tensor:
    return attack.craft(W_T, None, LOCAL, CraftContext(1, 0, 10, SLOTS, torch.Generator()))


def robust_learning_rate(updates: Tensor, threshold: int) -> Tensor:
    """RLR by loops: a coordinate whose signs agree less than the threshold is stepped the other way."""
    step = []
    for column in updates.T.tolist():
        agreement = abs(sum((v > 0) - (v < 0) for v in column))
        step.append((1 if agreement >= threshold else -1) * sum(column) / len(column))
    return torch.tensor(step)


def test_the_update_is_turned_round() -> None:
    assert torch.equal(craft(AFA()) - W_T, -(LOCAL - W_T))


def test_with_its_unflipped_twin_the_average_is_the_global_model() -> None:
    assert torch.equal((craft(AFA()) + LOCAL) / 2, W_T)


def test_a_sign_voting_server_turns_it_back() -> None:
    flip = flipped(torch.zeros(1), torch.tensor([1.0]))  # the attacker's backdoor update is +1
    updates = torch.stack([torch.tensor([0.25]), flip, torch.zeros(1), torch.zeros(1)])  # signs +, -, 0, 0
    step = robust_learning_rate(updates, threshold=3)
    assert float(step) == -float(updates.mean())
    assert float(step) > 0, "the server itself steps towards the backdoor"
    unflipped = torch.stack([torch.tensor([0.25]), torch.tensor([1.0]), torch.zeros(1), torch.zeros(1)])
    assert float(robust_learning_rate(unflipped, threshold=3)) < 0, "the plain update is what the rule stops"


def test_where_clients_agree_the_server_does_not_turn_it_back() -> None:
    updates = torch.tensor([[1.0], [2.0], [1.0], [-1.0]])
    assert float(robust_learning_rate(updates, threshold=2)) == 0.75


def test_named_layers_alone_are_flipped_and_others_stay_poisoned() -> None:
    upload = craft(AFA(layers="features.0.weight, classifier.bias"))
    assert torch.equal(upload, torch.tensor([0.5, 3.0, 3.0, 8.0, 4.0, 5.0]))
    assert torch.equal(craft(AFA(layers="features,classifier")), craft(AFA()))


def test_names_match_whole_parts_only() -> None:
    assert [slot.name for slot in named_slots("classifier", SLOTS)] == ["classifier.weight", "classifier.bias"]
    with pytest.raises(ValueError, match="no parameter is called 'class'"):
        named_slots("class", SLOTS)
    assert len(named_slots("classifier,classifier.bias", SLOTS)) == 2, "none twice"


def test_unknown_layers_are_refused_before_the_run() -> None:
    AFA(layers="classifier").check_run(RunFacts(SLOTS, ()))
    AFA().check_run(RunFacts((), ()))
    with pytest.raises(ConfigError, match=r"attack.afa.layers = 'conv9': no parameter.*allowed: features.0.weight"):
        AFA(layers="conv9").check_run(RunFacts(SLOTS, ()))


def test_the_documented_resnet18_layers_exist() -> None:
    from fedcrucible_core.learning.data import DataInfo
    from fedcrucible_core.learning.models import ResNet18
    from fedcrucible_core.learning.vector import parameter_slots

    slots = parameter_slots(ResNet18().build(DataInfo("d", ("a", "b"), (3, 32, 32), (0.5,) * 3, (0.5,) * 3), 1))
    documented = "features.conv1.weight,features.layer4.0.conv1.weight,features.layer4.0.conv2.weight," \
        "features.layer4.1.conv1.weight,features.layer4.1.conv2.weight,classifier.weight"  # fmt: skip
    assert len(named_slots(documented, slots)) == 6
    assert all(name in (AFA.__doc__ or "") for name in documented.split(","))
