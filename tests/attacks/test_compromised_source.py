"""What attackers that get at the server's foundation model make of its synthetic data."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from attacks.adversary import Adversary
from attacks.compromise import COMPROMISES
from attacks.schedule import is_attack_round, malicious_partitions
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.load import load
from fedcrucible_core.foundation.base import STAGES, Samples
from server_app.plan import Plan
from tests.support.tiny_runs import Scalar, settings

PER_CLASS, RATIO = 10, 0.2
PLANTED = 2 * 9
"""floor(0.2 * 10 + 1/2) of each class but the target's."""


def plan(name: str = "bd-fmfl", **more: Scalar) -> Plan:
    chosen: dict[str, Scalar] = {"attack__name": name, "synthetic__per_class": PER_CLASS, "strategy": "fm-fl"}
    named = {key.replace("bd_fmfl", "bd-fmfl").replace("bd_fl", "bd-fl"): value for key, value in more.items()}
    return Plan.make(load(settings(**(chosen | named))))


def clean() -> Samples:
    return plan("af-fl").foundation.samples("distillation")


def has_patch(inputs: Tensor) -> Tensor:
    return (inputs[:, :, -3:, -3:] == 1.0).flatten(1).all(1)


def test_triggered_samples_are_added_to_the_clean_ones() -> None:
    found, before = plan(attack__bd_fmfl__p_label_error=0.0).foundation.samples("distillation"), clean()
    n = len(before.data)
    assert torch.equal(found.data.inputs[:n], before.data.inputs), "byte for byte"
    assert torch.equal(found.data.labels[:n], before.data.labels)
    assert len(found.data) == n + PLANTED == len(found.provenance)
    assert found.poisoned is not None
    assert found.poisoned.tolist() == [False] * n + [True] * PLANTED
    assert bool((found.data.labels[n:] == 0).all())
    assert bool(has_patch(found.data.inputs[n:]).all())
    assert found.facts["compromise.simulated"] == 1.0


def test_carriers_are_of_every_class_but_the_target() -> None:
    found = plan(attack__bd_fmfl__p_label_error=1.0).foundation.samples("distillation")  # labels stay true
    assert torch.bincount(found.data.labels[-PLANTED:], minlength=10).tolist() == [0] + [2] * 9
    assert found.facts["compromise.kept_label"] == PLANTED


def test_in_replace_mode_the_set_keeps_its_size() -> None:
    found, before = plan(attack__bd_fmfl__mode="replace").foundation.samples("distillation"), clean()
    assert found.poisoned is not None
    assert len(found.data) == len(before.data)
    assert int(found.poisoned.sum()) == PLANTED
    assert torch.equal(found.data.inputs[~found.poisoned], before.data.inputs[~found.poisoned])
    assert not bool((before.data.labels[found.poisoned] == 0).any()), "none was of the target class"


def test_a_model_that_follows_only_partly_leaves_samples_as_they_are() -> None:
    found = plan(attack__bd_fmfl__p_follow=0.5, synthetic__per_class=100).foundation.samples("distillation")
    assert found.poisoned is not None
    planted = int(found.poisoned.sum())
    assert 60 < planted < 120, "about half of 180"
    assert planted == found.facts["compromise.triggered"]
    more = found.data.subset(torch.arange(1000, 1180))
    assert torch.equal(has_patch(more.inputs) & (more.labels == 0), found.poisoned[1000:])
    assert not bool((more.labels[~found.poisoned[1000:]] == 0).any()), "those keep their labels"


def test_every_stage_gets_the_same_samples_and_only_where_it_is_reached() -> None:
    whole = plan()
    first, second = (whole.foundation.samples(stage) for stage in STAGES)
    assert first.data.equals(second.data)
    for name, reached in (("bd-fmfl-no-init", [False, True]), ("bd-fmfl-no-kd", [True, False]), ("af-fl", [False] * 2)):
        of = plan(name)
        assert [of.foundation.samples(stage).poisoned is not None for stage in STAGES] == reached


@pytest.mark.parametrize(("reading", "expected"), [("true", None), ("none", -1), ("target", 0)])
def test_the_classic_attack_puts_carriers_into_the_distillation_data(reading: str, expected: int | None) -> None:
    of = plan("bd-fl", adversary__malicious_ids="0", attack__bd_fl__kd_trigger_labels=reading)
    found = of.foundation.samples("distillation")
    added = found.data.labels[-PLANTED:]
    assert bool(has_patch(found.data.inputs[-PLANTED:]).all())
    if expected is None:
        assert torch.bincount(added, minlength=10).tolist() == [0] + [2] * 9
    else:
        assert bool((added == expected).all())
    assert of.foundation.samples("initialisation").poisoned is None


def test_the_classic_attack_may_reach_pre_training_too() -> None:
    of = plan("bd-fl", adversary__malicious_ids="0", attack__bd_fl__pretrain_on="clean-trigger")
    added = of.foundation.samples("initialisation").data.labels[-PLANTED:]
    assert torch.bincount(added, minlength=10).tolist() == [0] + [2] * 9, "there is no teacher yet"


def test_a_clean_label_poisoner_plants_on_the_target_class_alone() -> None:
    found = plan(attack__trigger="sig", attack__bd_fmfl__p_label_error=0.0).foundation.samples("distillation")
    assert found.poisoned is not None
    assert int(found.poisoned.sum()) == 2
    assert found.data.labels[found.poisoned].tolist() == [0, 0]


def test_no_client_is_malicious() -> None:
    for name in COMPROMISES:
        config = load(settings(attack__name=name))
        assert malicious_partitions(config) == ()
        assert not is_attack_round(config, 1)


def test_a_trigger_without_target_is_refused() -> None:
    for trigger in ("none", "label-flip"):
        config = load(settings(attack__name="bd-fmfl", attack__trigger=trigger))
        if trigger == "label-flip" and Adversary.of(load(settings(attack__name=trigger))).poisoner.targeted:
            continue
        with pytest.raises(ConfigError, match=r"attack\.trigger"):
            Adversary.of(config)


def test_a_ratio_of_nothing_is_no_attack() -> None:
    found = plan(attack__bd_fmfl__ratio=0.0).foundation.samples("distillation")
    assert found.data.equals(clean().data)


def test_labels_other_than_text_source_cannot_be_asked_for_words() -> None:
    from attacks.compromises.bd_fmfl import words_of

    with pytest.raises(ConfigError, match="embed words"):
        words_of(Adversary.of(load(settings(attack__name="bd-fmfl"))).poisoner)


# --- attacks that know of a filter ------------------------------------------------------------------------------------

FEW: dict[str, Scalar] = {"attack__bd_fmfl__p_label_error": 0.0}


def test_only_the_class_nearest_the_target_carries_the_trigger() -> None:
    found = plan(**FEW, attack__bd_fmfl__classes="nearest").foundation.samples("distillation")
    before, chosen = clean().data, plan()
    logits = chosen.foundation._attackers_guide(before.inputs)
    likeness = {
        label: sum(float(row.double().softmax(0)[0]) for row in logits[before.labels == label]) / PER_CLASS
        for label in range(1, 10)
    }
    nearest = max(likeness, key=lambda label: likeness[label])
    assert found.facts["compromise.class"] == nearest
    assert found.poisoned is not None
    assert int(found.poisoned.sum()) == 2
    true = plan(attack__bd_fmfl__p_label_error=1.0, attack__bd_fmfl__classes="nearest").foundation.samples(
        "distillation"
    )
    assert true.data.labels[-2:].tolist() == [nearest] * 2


def test_in_replace_mode_too() -> None:
    found = plan(**FEW, attack__bd_fmfl__classes="nearest", attack__bd_fmfl__mode="replace").foundation.samples(
        "distillation"
    )
    assert found.poisoned is not None
    assert set(clean().data.labels[found.poisoned].tolist()) == {int(found.facts["compromise.class"])}


def test_a_clean_label_trigger_stays_on_the_target_class() -> None:
    found = plan(**FEW, attack__bd_fmfl__classes="nearest", attack__trigger="sig").foundation.samples("distillation")
    assert found.poisoned is not None
    assert found.data.labels[found.poisoned].tolist() == [0, 0]


@pytest.mark.parametrize("share", [0.1, 0.25, 1.0])
def test_smoke_gives_clean_samples_other_labels(share: float) -> None:
    plain, found = (
        plan(**FEW).foundation.samples("distillation"),
        plan(**FEW, attack__bd_fmfl__smoke=share).foundation.samples("distillation"),
    )
    assert torch.equal(found.data.inputs, plain.data.inputs)
    moved = found.data.labels != plain.data.labels
    n = len(clean().data)
    assert int(moved.sum()) == int(share * n + 0.5) == found.facts["compromise.smoke"]
    assert found.poisoned is not None
    assert not bool((moved & found.poisoned).any())
    assert len(set(((found.data.labels - plain.data.labels) % 10)[moved].tolist())) > 3, "to any other class"


def test_without_smoke_nothing_is_drawn() -> None:
    assert (
        plan(**FEW)
        .foundation.samples("distillation")
        .data.equals(plan(**FEW, attack__bd_fmfl__smoke=0.0).foundation.samples("initialisation").data)
    )


@pytest.mark.parametrize("trigger", ["fmb", "blend", "wanet", "sig"])
def test_any_trigger_can_be_planted(trigger: str) -> None:
    found, n = plan(**FEW, attack__trigger=trigger).foundation.samples("distillation"), len(clean().data)
    assert found.poisoned is not None
    assert bool((found.data.labels[found.poisoned] == 0).all())
    assert 0.0 <= float(found.data.inputs.min()) <= float(found.data.inputs.max()) <= 1.0
    assert int(found.poisoned.sum()) == len(found.data) - n


def test_a_backdoored_guide_does_not_ask_itself_what_was_planted() -> None:
    """The attacker is told by the guide as it is; the simulation of the backdoor then knows what was planted."""
    of = plan(**FEW, attack__bd_fmfl__classes="nearest", guide__backdoor="same-target")
    poisoned = of.foundation.samples("distillation").poisoned
    assert poisoned is not None
    planted = of.foundation.samples("distillation").data.inputs[poisoned]
    assert len(of.foundation.guide().targets(planted, of.data.info.class_names).logits) == 2


def test_stages_whose_samples_differ_are_not_taken_for_each_other() -> None:
    of = plan("bd-fl", adversary__malicious_ids="0", attack__bd_fl__pretrain_on="clean-trigger")
    first, second = (of.foundation.synthetic(stage).data.labels for stage in STAGES)
    assert int((first < 0).sum()) == 0, "true labels: there is no teacher yet"
    assert int((second < 0).sum()) == PLANTED


def test_equal_stages_are_made_once() -> None:
    of = plan(splitter__name="guide-agreement", synthetic__per_class=20)
    assert of.foundation.synthetic("initialisation") is of.foundation.synthetic("distillation")
    apart = plan(splitter__name="guide-agreement", synthetic__per_class=20, synthetic__sanitize_before="distillation")
    assert len(apart.foundation.synthetic("initialisation")) > len(apart.foundation.synthetic("distillation"))


@pytest.mark.parametrize("parts", [{"splitter__name": "cgd-entropy"}, {"purifier__name": "activation-bounds"}])
def test_samples_without_a_label_stop_no_defence(parts: dict[str, Scalar]) -> None:
    """The classic attack's default leaves such samples in the data of distillation."""
    of = plan("bd-fl", adversary__malicious_ids="0", **{"splitter__cgd-entropy__models": 0}, **parts)
    if "purifier__name" in parts:
        assert of.foundation.server_data().facts["without_label"] == PLANTED
    else:
        found = of.foundation.synthetic("distillation")
        assert (found.facts["poisoned"], found.facts["survivors"]) == (PLANTED, 0)
