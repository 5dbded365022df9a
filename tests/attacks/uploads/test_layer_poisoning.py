"""LP, LF, adaptive LP: which layers are critical, what is uploaded, what a simulated server does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from attacks.support.critical_layers import coordinates, critical_layers, ranked_layers, with_layers
from attacks.uploader import CraftContext, RunFacts, Uploader
from attacks.uploads.lf import LF
from attacks.uploads.lp import FOUND_IN, LAYERS, LP
from attacks.uploads.lp_adaptive import LPAdaptive, blended, largest_accepted
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.sections import PoisonSection, TrainingSection
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.models import SmallCNN
from fedcrucible_core.learning.vector import Slot, flatten_parameters, load_parameters, parameter_slots
from fedcrucible_core.learning.weights import Weights
from tests.support.attack_view_fake import Judge, LocalView, fake_view

TARGET = 2


class Toy(nn.Module):
    """Linear: features = A x with A the identity, logits = C features. x is [n, 1, 2, 2]: pixel 3 is the trigger."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.last = nn.Linear(4, 3)
        with torch.no_grad():
            self.first.weight.copy_(torch.eye(4))
            self.first.bias.zero_()
            self.last.weight.copy_(torch.tensor([[4.0, 0, 0, 0], [0, 4.0, 0, 0], [0, 0, 4.0, 0]]))
            self.last.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.last(self.first(x.flatten(1)))
        return scores


def toy_success(model: Toy) -> tuple[Callable[[Weights], float], Labeled]:
    """Success of a flat model: triggered images of classes 0 and 1 that are predicted as the target."""
    images = torch.tensor([[1.0, 0, 0, 1.0], [0, 1.0, 0, 1.0]]).view(2, 1, 2, 2)

    def success(local: Weights) -> float:
        load_parameters(model, local.parameters)
        with torch.no_grad():
            return float((model(images).argmax(1) == TARGET).double().mean())

    return success, Labeled(images, torch.tensor([0, 1]))


def toy_pair(*, backdoor_in: str) -> tuple[Toy, Weights, Weights]:
    """A clean and a poisoned model that differ everywhere a little, and by the backdoor in one layer."""
    model = Toy()
    benign = flatten_parameters(model)
    malicious = benign + 0.01 * torch.randn(len(benign), generator=torch.Generator().manual_seed(0))
    slot = next(s for s in parameter_slots(model) if s.name == backdoor_in)
    if backdoor_in == "last.weight":
        malicious[slot.start + 2 * 4 + 3] += 50.0  # trigger pixel -> target logit
    elif backdoor_in == "first.weight":
        malicious[slot.start + 2 * 4 + 3] += 50.0  # trigger pixel -> the target's feature
    return model, Weights(benign, torch.zeros(0)), Weights(malicious, torch.zeros(0))


@pytest.mark.parametrize("name", ["last.weight", "first.weight"])
def test_only_the_layer_that_holds_the_backdoor_is_critical(name: str) -> None:
    model, benign, malicious = toy_pair(backdoor_in=name)
    success, _ = toy_success(model)
    slots = parameter_slots(model)
    assert success(malicious) == 1.0
    assert success(benign) == 0.0
    found = critical_layers(benign, malicious, slots, success, 0.8)
    assert [slots[i].name for i in found] == [name]


def test_outside_the_critical_layers_the_upload_is_the_clean_model_exactly() -> None:
    model, benign, malicious = toy_pair(backdoor_in="last.weight")
    slots = parameter_slots(model)
    chosen = coordinates(len(benign.parameters), [slots[2]])
    context = CraftContext(1, 0, 10, slots, torch.Generator(), chosen=chosen)
    upload = LP().craft(benign.parameters + 7, benign.parameters, malicious.parameters, context)
    assert torch.equal(upload[~chosen], benign.parameters[~chosen])
    assert torch.equal(upload[chosen], malicious.parameters[chosen])


def layered(*scores: float, both: float = 0.0) -> tuple[tuple[Slot, ...], Callable[[Weights], float]]:
    """Layers of one coordinate; success adds up the scores of those that are poisoned (value 1)."""
    slots = tuple(Slot(f"l{i}", i, torch.Size([1]), False) for i in range(len(scores)))

    def success(local: Weights) -> float:
        total = sum(s for s, v in zip(scores, local.parameters.tolist(), strict=True) if v == 1.0)
        return round(total + (both if bool((local.parameters[:2] == 1).all()) else 0.0), 9)

    return slots, success


def models(count: int) -> tuple[Weights, Weights]:
    return Weights(torch.zeros(count), torch.zeros(0)), Weights(torch.ones(count), torch.zeros(0))


def test_ranking_is_by_the_loss_of_success_and_ties_keep_the_models_order() -> None:
    slots, success = layered(0.1, 0.5, 0.1, 0.3)
    order, whole = ranked_layers(*models(4), slots, success)
    assert order == [1, 3, 0, 2]
    assert whole == 1.0


@pytest.mark.parametrize(("tau", "expected"), [(0.5, [1]), (0.8, [1, 3]), (0.85, [1, 3, 0]), (1.0, [1, 3, 0, 2])])
def test_layers_are_added_until_the_share_is_reached(tau: float, expected: list[int]) -> None:
    slots, success = layered(0.1, 0.5, 0.1, 0.3)
    assert critical_layers(*models(4), slots, success, tau) == expected


def test_layers_that_work_only_together_are_both_found() -> None:
    slots, success = layered(0.0, 0.0, 0.0, both=1.0)
    assert critical_layers(*models(3), slots, success, 0.8) == [0, 1]


def test_all_layers_where_even_they_are_not_enough() -> None:
    slots, success = layered(0.5, 0.5)
    benign, malicious = models(2)

    def by_buffers(local: Weights) -> float:  # the poisoned buffers carry the rest of the success
        return success(local) * (1.0 if bool(local.buffers.any()) else 0.5)

    poisoned = replace(malicious, buffers=torch.ones(1))
    assert critical_layers(replace(benign, buffers=torch.zeros(1)), poisoned, slots, by_buffers, 0.8) == [0, 1]


def test_no_success_means_no_critical_layer() -> None:
    slots, _ = layered(0.5, 0.5)
    assert critical_layers(*models(2), slots, lambda local: 0.0, 0.8) == []


def test_substitution_copies() -> None:
    base, other = torch.zeros(3), torch.ones(3)
    mixed = with_layers(base, other, [Slot("a", 1, torch.Size([1]), False)])
    assert mixed.tolist() == [0, 1, 0]
    assert base.tolist() == [0, 0, 0]


# --- one round through a view -----------------------------------------------------------------------------------


def cnn() -> nn.Module:
    return SmallCNN(width=4, hidden=16).build(DataInfo("d", tuple("abc"), (1, 8, 8), (0.5,), (0.5,)), 1)


def pictures(count: int = 90, only: int | None = None) -> Labeled:
    """Three easy classes: a bright third of the image."""
    rng = torch.Generator().manual_seed(7)
    labels = torch.arange(count) % 3 if only is None else torch.full((count,), only)
    images = 0.2 * torch.rand(count, 1, 8, 8, generator=rng)
    for i, label in enumerate(labels.tolist()):
        images[i, 0, :, 2 * label : 2 * label + 2] += 0.6
    return Labeled(images.clamp(0, 1), labels)


def view(attack: Uploader, *, data: Labeled | None = None, **more: object) -> LocalView:
    section = PoisonSection(target_label=TARGET, ratio=0.5)
    training = TrainingSection(batch_size=16, lr=0.1, local_epochs=3)
    more = {"poison": section, "training": training, **more}
    return fake_view(cnn(), data or pictures(), **more)


def names(seen: LocalView, layers: list[int]) -> list[str]:
    return [seen.slots[i].name for i in layers]


def test_lp_uploads_this_rounds_models_layer_by_layer() -> None:
    attack = LP()
    seen = view(attack)
    layers = attack.layers(seen)
    upload = attack.upload(seen)
    clean, poisoned = seen.clean_model(), seen.train(seen.poisoned)
    chosen = coordinates(len(seen.w_global), [seen.slots[i] for i in layers])
    assert 0 < len(layers) < len(seen.slots)
    assert torch.equal(upload.parameters[~chosen], clean.parameters[~chosen])
    assert torch.equal(upload.parameters[chosen], poisoned.parameters[chosen])
    assert not torch.equal(clean.parameters[chosen], poisoned.parameters[chosen])
    assert upload.num_examples == len(seen.clean)


def test_lf_flips_the_same_layers() -> None:
    lp, lf = LP(), LF()
    seen, same = view(lp), view(lf)
    assert lp.layers(seen) == lf.layers(same)
    chosen = coordinates(len(seen.w_global), [seen.slots[i] for i in lf.layers(same)])
    upload, poisoned = lf.upload(same).parameters, same.train(same.poisoned).parameters
    assert torch.equal(upload[~chosen], same.clean_model().parameters[~chosen])
    assert torch.allclose(upload[chosen], (2 * same.w_global - poisoned)[chosen], atol=1e-6)


def test_the_search_is_remembered_for_some_rounds() -> None:
    attack = LP(refresh=3)
    memory: dict[str, Tensor] = {}
    searches = []
    for number in (4, 5, 6, 7, 9, 10):
        seen = view(attack, round=number, memory=memory)
        attack.upload(seen)
        searches.append(any(call.startswith("lp-") for call in seen.calls))
        memory = seen.memory
    assert searches == [True, False, False, True, False, True]
    assert int(memory[FOUND_IN]) == 10
    assert memory[LAYERS].dtype == torch.int64


def test_a_client_of_the_target_class_alone_falls_back_to_its_clean_model() -> None:
    attack = LP()
    seen = view(attack, data=pictures(only=TARGET))
    upload = attack.upload(seen)
    assert torch.equal(upload.parameters, seen.clean_model().parameters)
    assert seen.memory == {}
    assert not [call for call in seen.calls if call.startswith("lp-")], "nothing was trained for a search in vain"


def test_an_accuracy_that_is_never_reached_falls_back_too() -> None:
    # Pitfall: the failing path returned something that its callers couldn't use.
    noise = Labeled(torch.rand(60, 1, 8, 8, generator=torch.Generator().manual_seed(1)), torch.arange(60) % 3)
    attack = LP(patience=7, least=0.999)
    seen = view(attack, data=noise)
    upload = attack.upload(seen)
    assert torch.equal(upload.parameters, seen.clean_model().parameters)
    assert [call for call in seen.calls if call.startswith("lp-")] == ["lp-clean-0", "lp-clean-4"]


def test_layers_found_before_stay_in_use_when_a_new_search_fails() -> None:
    attack = LP(refresh=1)
    memory = {LAYERS: torch.tensor([1, 0]), FOUND_IN: torch.tensor(2)}
    seen = view(attack, data=pictures(only=TARGET), round=5, memory=memory)
    assert attack.layers(seen) == [1, 0]
    assert int(seen.memory[FOUND_IN]) == 2


def test_training_for_the_search_stops_at_the_floor() -> None:
    seen = view(LP())
    LP().layers(seen)
    looks = [call for call in seen.calls if call.startswith("lp-clean")]
    assert looks == [f"lp-clean-{4 * i}" for i in range(len(looks))]
    assert 1 <= len(looks) < 8


def test_colluders_let_the_first_who_can_search() -> None:
    attack = LP()
    second = view(attack, partition=5)
    first = view(attack, data=pictures(only=TARGET), partition=2, others=[second])
    own = view(attack, partition=5)
    assert attack.layers(first) == attack.layers(own)
    assert first.memory[LAYERS].tolist() == attack.layers(own)


def test_tiny_clients_are_no_crash() -> None:
    for count in (1, 2, 3):
        seen = view(LP(), data=pictures(count), training=TrainingSection(batch_size=2))
        assert bool(torch.isfinite(LP().upload(seen).parameters).all())


# --- adaptive ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("strength", "expected"), [(1.0, 1.6), (0.5, 1.4), (2.0, 2.2), (0.0, 1.2)])
def test_worked_blends(strength: float, expected: float) -> None:
    g, ben, mal = torch.tensor([1.0]), torch.tensor([1.2]), torch.tensor([1.6])
    assert float(blended(g, ben, mal, strength)) == pytest.approx(expected)


def test_worked_flip() -> None:
    g, ben, mal = torch.tensor([1.0]), torch.tensor([1.2]), torch.tensor([1.6])
    assert float(LF().craft(g, ben, mal, CraftContext(1, 0, 10, (), torch.Generator()))) == pytest.approx(0.4)
    context = CraftContext(1, 0, 10, (), torch.Generator(), chosen=torch.tensor([False]))
    assert float(LF().craft(g, ben, mal, context)) == pytest.approx(1.2)


@pytest.mark.parametrize("limit", [0.001, 0.3, 1.0, 1.7, 5.0])
def test_the_search_ends_on_an_accepted_value_near_the_limit(limit: float) -> None:
    asked: list[float] = []

    def accepts(strength: float) -> bool:
        asked.append(strength)
        return strength <= limit

    found = largest_accepted(accepts, 8.0, 20)
    assert found <= limit
    assert found == pytest.approx(limit, rel=1e-2)
    assert len(asked) <= 20


def test_the_search_doubles_then_bisects() -> None:
    asked: list[float] = []

    def accepts(strength: float) -> bool:
        asked.append(strength)
        return strength <= 3.0

    largest_accepted(accepts, 8.0, 6)
    assert asked == [1.0, 2.0, 4.0, 3.0, 3.5, 3.25]
    halved: list[float] = []

    def refuses(strength: float) -> bool:
        halved.append(strength)
        return False

    assert largest_accepted(refuses, 8.0, 4) == 0.0
    assert halved == [1.0, 0.5, 0.25, 0.125]


def test_a_server_that_accepts_all_is_not_searched_without_end() -> None:
    assert largest_accepted(lambda s: True, 8.0, 20) == 8.0
    assert largest_accepted(lambda s: True, 0.5, 20) == 0.5


def group(attack: LPAdaptive, judge: Judge, count: int = 3, participants: int = 9, **more: object) -> list[LocalView]:
    """Colluders with data of their own; each sees the others, and they share one cache as in one process."""
    cache: dict[object, object] = {}
    members = [
        view(
            attack, data=pictures(60 + 3 * i), partition=i, judge=judge, participants=participants, cache=cache, **more
        )
        for i in range(count)
    ]
    return [replace(m, others=[o for o in members if o is not m]) for m in members]


def everyone(rule: str, updates: Tensor) -> Tensor:
    return torch.ones(len(updates), dtype=torch.bool)


def test_all_colluders_upload_the_same_vector() -> None:
    attack = LPAdaptive()
    views = group(attack, everyone)
    uploads = [attack.upload(v).parameters for v in views]
    assert all(torch.equal(u, uploads[0]) for u in uploads)
    separate = group(attack, everyone)[2]  # another process: nothing shared
    assert torch.equal(attack.upload(separate).parameters, uploads[0])


def test_accepted_at_once_the_upload_is_the_blend_on_the_critical_layers() -> None:
    attack = LPAdaptive(strength=0.5)
    views = group(attack, everyone)
    seen = views[1]
    upload = attack.upload(seen).parameters
    centre = torch.stack([v.clean_model().parameters for v in views]).mean(0)
    chosen = coordinates(len(centre), [seen.slots[i] for i in attack.layers(seen)])
    malicious = views[0].train(views[0].poisoned).parameters
    assert torch.allclose(upload[~chosen], centre[~chosen], atol=1e-6)
    assert torch.allclose(upload[chosen], blended(seen.w_global, centre, malicious, 0.5)[chosen], atol=1e-6)


def test_the_simulated_round_has_the_real_rounds_proportions() -> None:
    sizes: list[tuple[int, int]] = []

    def judge(rule: str, updates: Tensor) -> Tensor:
        same = (updates == updates[-1]).all(1)
        sizes.append((len(updates), int(same.sum())))
        return torch.ones(len(updates), dtype=torch.bool)

    for participants in (9, 6, 4, 3, 30):
        attack = LPAdaptive()
        attack.upload(group(attack, judge, participants=participants)[0])
    # k = m = 3 clean updates, and round(3 * 3 / (n - 3)) copies
    assert sizes == [(5, 2), (6, 3), (12, 9), (6, 3), (4, 1)]


def test_the_least_critical_layers_are_dropped_while_the_server_rejects() -> None:
    attack, tried = LPAdaptive(tau=1.0), list[int]()

    def judge(rule: str, updates: Tensor) -> Tensor:
        centre, crafted = updates[:3].mean(0), updates[-1]
        slots = parameter_slots(cnn())
        moved = sum(not torch.allclose(crafted[s.start : s.stop], centre[s.start : s.stop], atol=1e-6) for s in slots)
        tried.append(moved)
        return torch.tensor([True] * 3 + [moved <= 1] * (len(updates) - 3))

    views = group(attack, judge)
    memory = {LAYERS: torch.tensor([6, 4, 2]), FOUND_IN: torch.tensor(1)}
    seen = replace(views[0], memory=memory)
    upload = attack.upload(seen).parameters
    assert tried == [3, 2, 1]
    centre = torch.stack([v.clean_model().parameters for v in views]).mean(0)
    chosen = coordinates(len(centre), [seen.slots[6]])
    assert torch.allclose(upload[~chosen], centre[~chosen], atol=1e-6)
    assert not torch.allclose(upload[chosen], centre[chosen], atol=1e-6)


@pytest.mark.parametrize("strength", [1.0, 0.0])
def test_rejected_altogether_the_attackers_upload_the_mean_clean_model(strength: float) -> None:
    attack = LPAdaptive(strength=strength, steps=3)
    views = group(attack, lambda rule, updates: torch.arange(len(updates)) < 3)
    centre = torch.stack([v.clean_model().parameters for v in views]).mean(0)
    assert torch.allclose(attack.upload(views[0]).parameters, centre, atol=1e-6)


def test_a_searched_strength_is_accepted() -> None:
    attack = LPAdaptive(strength=0.0)
    lengths = list[float]()

    def judge(rule: str, updates: Tensor) -> Tensor:
        length = float((updates[-1] - updates[:3].mean(0)).norm())
        lengths.append(length)
        return torch.tensor([True] * 3 + [length <= 0.8] * (len(updates) - 3))

    views = group(attack, judge)
    upload = attack.upload(views[0]).parameters
    centre = torch.stack([v.clean_model().parameters for v in views]).mean(0)
    assert float((upload - centre).norm()) <= 0.8 + 1e-5
    assert float((upload - centre).norm()) >= 0.7
    assert max(lengths) > 0.8


def test_a_rule_that_cannot_judge_counts_as_accepting() -> None:
    attack, open_server = LPAdaptive(), LPAdaptive()
    silent = attack.upload(group(attack, lambda rule, updates: None)[0]).parameters
    assert torch.equal(silent, open_server.upload(group(open_server, everyone)[0]).parameters)


def test_the_configured_rule_is_simulated() -> None:
    for rule in ("server", "clip-fed-filter"):
        attack = LPAdaptive(simulate=rule)
        seen = group(attack, everyone)[0]
        attack.upload(seen)
        assert {call for call in seen.calls if call.startswith("simulate")} == {f"simulate {rule}"}


def test_an_unknown_rule_is_refused_before_the_run() -> None:
    facts = RunFacts((), ("fedavg", "flame"))
    LPAdaptive().check_run(facts)
    LPAdaptive(simulate="flame").check_run(facts)
    with pytest.raises(ConfigError, match=r"attack.lp-adaptive.simulate = 'flam': .*allowed: server, fedavg, flame"):
        LPAdaptive(simulate="flam").check_run(facts)


def test_no_critical_layer_means_the_mean_clean_model() -> None:
    attack = LPAdaptive()
    cache: dict[object, object] = {}
    pair = [view(attack, data=pictures(only=TARGET), partition=i, cache=cache) for i in range(2)]
    views = [replace(pair[0], others=[pair[1]]), replace(pair[1], others=[pair[0]])]
    centre = torch.stack([v.clean_model().parameters for v in views]).mean(0)
    assert torch.allclose(attack.upload(views[0]).parameters, centre, atol=1e-6)
