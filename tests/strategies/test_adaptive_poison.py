"""Attackers who know that labels are checked: classes of their choice, and noise beside the poison."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from attacks.guide_evasion import most_like_target, other_labels
from attacks.own_rows import own_rows
from attacks.poison_set import poison_set
from attacks.poisoners.badnets import BadNets
from attacks.poisoners.sig import Sig
from attacks.source_classes import listed_classes
from attacks.upstream import upstream_set
from client_app.local_data import attack_task, poisoned_data
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.load import load
from fedcrucible_core.config.sections import PoisonSection
from fedcrucible_core.foundation.guides import plain_guide
from fedcrucible_core.records.reader import read
from server_app.evaluation import Evaluator
from server_app.identity import digest, identity
from server_app.plan import Plan
from tests.support.tiny_runs import Scalar, play, settings
from tests.support.tiny_task import generator, labelled, make_task

CENTRAL: dict[str, Scalar] = {"strategy": "central", "poison__central": True, "poison__ratio": 0.5}
CPU = torch.device("cpu")


def test_the_class_most_like_the_target_has_the_largest_mean_probability() -> None:
    """Softmax of (0, 1), (0, 3) | (0, 2), (0, 2): means of 1 / (1 + e^x) are .158 for class 1 and .119 for class 2."""
    logits = torch.tensor([[0.0, 1.0, -99.0], [0.0, 3.0, -99.0], [0.0, -99.0, 2.0], [0.0, -99.0, 2.0]])
    labels = torch.tensor([1, 1, 2, 2])
    assert most_like_target(logits, labels, 0) == 1
    assert most_like_target(logits[1:], labels[1:], 0) == 2, ".047 against .119"
    assert most_like_target(torch.zeros(3, 3), torch.tensor([2, 1, 0]), 0) == 1, "of equal ones the first"


def test_other_labels_are_others_and_as_many_as_asked() -> None:
    labels = torch.arange(40) % 4
    able = torch.arange(40) < 30
    changed, rows = other_labels(labels, able, 0.25, 4, generator(1))
    assert len(rows) == 8, "floor(7.5 + .5)"
    assert sorted(rows.tolist()) == (changed != labels).nonzero().flatten().tolist()
    assert int(rows.max()) < 30
    assert labels.tolist() == [n % 4 for n in range(40)]
    many, _ = other_labels(
        torch.zeros(9000, dtype=torch.int64), torch.ones(9000, dtype=torch.bool), 1.0, 4, generator()
    )
    assert torch.bincount(many, minlength=4).tolist()[0] == 0
    assert int(torch.bincount(many, minlength=4)[1:].min()) > 2800, "a third each"


@pytest.mark.parametrize("text", ["", "3", " 5, 3 "])
def test_classes_are_listed_by_number(text: str) -> None:
    info = make_task(labelled(6)).info
    expected = sorted(int(part) for part in text.split(",") if part.strip())
    assert listed_classes(PoisonSection(classes=text), info) == tuple(expected)


@pytest.mark.parametrize(("text", "said"), [("9", "no class"), ("a", "no class"), ("0", "target"), ("1,1", "twice")])
def test_what_is_no_list_of_other_classes_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        listed_classes(PoisonSection(classes=text), make_task(labelled(6)).info)
    assert caught.value.key == "poison.classes"


def test_only_listed_classes_are_poisoned_and_measured() -> None:
    plan = Plan.make(load(settings(**CENTRAL, poison__classes="3, 6")))
    true = plan.data.train.labels
    poisoned = plan.central.poisoned
    of_them = (true == 3) | (true == 6)
    assert int(poisoned.sum()) == int(0.5 * int(of_them.sum()) + 0.5)
    assert not bool((poisoned & ~of_them).any())
    attacked = Evaluator.build(plan.config, plan.data, plan.adversary.poisoner, CPU).attacked
    assert attacked is not None
    measured = plan.data.measured(plan.config.task.eval_split).labels
    assert attacked.labels.tolist() == measured[(measured == 3) | (measured == 6)].tolist()


def test_the_record_says_of_which_classes_asr_is(runs_folder: Path) -> None:
    summary, rounds = play(**CENTRAL, poison__classes="6", poison__smoke=0.1)
    run = read(Path(summary.folder))
    assert run.run.attack_inputs == "triggered images of class 6 (shirt)"
    assert any("ASR is of triggered images of class 6 (shirt) alone" in note for note in run.notes)
    facts = rounds[0].facts
    assert facts["central.smoked"] == int(0.1 * (200 - facts["central.poisoned"]) + 0.5)
    assert any("without poison got another label at random" in note for note in run.notes)


def test_smoke_touches_no_poison_no_decoy_and_moves_no_draw() -> None:
    data, info = labelled(120), make_task(labelled(6)).info
    plain, smoked = (
        poison_set(BadNets(), data, info, PoisonSection(ratio=0.2, smoke=share), seed=1) for share in (0.0, 0.5)
    )
    assert torch.equal(plain.poisoned, smoked.poisoned)
    assert torch.equal(plain.data.inputs, smoked.data.inputs)
    assert torch.equal(plain.data.labels != smoked.data.labels, smoked.smoked)
    assert not bool(plain.smoked.any())
    assert not bool((smoked.smoked & smoked.poisoned).any())
    assert int(smoked.smoked.sum()) == 50, "half of the 100 that aren't among the 20 poisoned"


def test_nearest_is_what_the_guide_says_of_clean_images_and_is_told(runs_folder: Path) -> None:
    plan = Plan.make(load(settings(**CENTRAL, poison__classes="nearest")))
    data, config = plan.data, plan.config
    said = plain_guide(config.guide, data.info, CPU).targets(data.train.for_model(), data.info.class_names).logits
    chance = said.double().softmax(1)[:, 0]
    means = {label: float(chance[data.train.labels == label].mean()) for label in range(1, 10)}
    nearest = max(means, key=lambda label: means[label])
    assert plan.attack_task.classes == (nearest,)
    summary, _ = play(**CENTRAL, poison__classes="nearest")
    assert any("nearest to the target by the run's guide" in note for note in read(Path(summary.folder)).notes)


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        ("poison.classes", {"strategy": "fedavg", "poison__classes": "nearest"}),
        ("poison.classes", {"strategy": "fedavg", "poison__classes": "11"}),
        ("poison.classes", {**CENTRAL, "poison__classes": "3", "attack__name": "sig"}),
        ("poison.classes", {**CENTRAL, "poison__classes": "nearest", "attack__name": "semantic"}),
        ("poison.classes", {"strategy": "fm-fl", "poison__classes": "3", "attack__name": "bd-fmfl"}),
        ("poison.smoke", {"strategy": "fm-fl", "poison__smoke": 0.1, "attack__name": "bd-fmfl"}),
        (
            "poison.classes",
            {**CENTRAL, "attack__name": "fmb", "attack__fmb__pairs": "one-to-one", "poison__classes": "3"},
        ),
        ("guide.model", {**CENTRAL, "poison__classes": "nearest", "guide__model": "/nowhere"}),
    ],
)
def test_what_cannot_be_is_refused(key: str, changes: dict[str, Scalar]) -> None:
    with pytest.raises(ConfigError) as caught:
        Plan.make(load(settings(**changes)))
    assert caught.value.key == key


def test_a_run_without_attack_minds_neither() -> None:
    plan = Plan.make(load(settings(**CENTRAL, poison__classes="nearest", poison__smoke=0.2, attack__name="none")))
    assert plan.attack_task.classes == ()
    assert not bool(plan.central.smoked.any())
    with pytest.raises(ConfigError, match="sig"):
        poison_set(Sig(), labelled(12), make_task(labelled(6)).info, PoisonSection(classes="3"), seed=1)


def test_clients_hold_to_both() -> None:
    common: dict[str, Scalar] = {"poison__classes": "3,6", "poison__smoke": 0.5, "poison__ratio": 1.0}
    config = load(settings(**common, adversary__malicious_ids="0", partition__name="iid"))
    plan = Plan.make(config)
    made, own = poisoned_data(config, plan.adversary.poisoner, 0, 0, CPU), plan.data.train.subset(own_rows(config, 0))
    stamped = (made.inputs != own.for_model()).flatten(1).any(1)
    assert torch.equal(stamped, (own.labels == 3) | (own.labels == 6))
    assert bool((made.labels[stamped] == 0).all())
    assert int((made.labels != own.labels)[~stamped].sum()) == int(0.5 * int((~stamped).sum()) + 0.5)
    config = load(settings(**common, adversary__malicious_fraction=0.0, poison__upstream="1", partition__name="iid"))
    supplied = upstream_set(config, 1, attack_task(config))
    assert bool(supplied.poisoned.any())
    assert supplied.data.rows is not None
    true = plan.data.train.labels[supplied.data.rows]
    assert set(true[supplied.poisoned].tolist()) <= {3, 6}
    clean_ones = int((~supplied.poisoned).sum())
    assert int(supplied.smoked.sum()) == int(0.5 * clean_ones + 0.5)
    assert Plan.make(config).upstream_facts()["upstream.smoked"] == float(supplied.smoked.sum())


def test_earlier_results_stay_valid_and_other_classes_are_other_runs() -> None:
    plain = load(settings(**CENTRAL))
    assert not any(key in ("poison.classes", "poison.smoke") for key in identity(plain))
    changed = [{"poison__classes": "3"}, {"poison__classes": "nearest"}, {"poison__smoke": 0.1}]
    others = [digest(load(settings(**CENTRAL, **more))) for more in changed]  # type: ignore[arg-type]
    assert len({digest(plain), *others}) == 4
    nobody: dict[str, Scalar] = {"adversary__malicious_fraction": 0.0}
    whole, shirts, noisy = (
        digest(load(settings(**nobody, **more)))  # type: ignore[arg-type]
        for more in ({}, {"poison__classes": "6"}, {"poison__smoke": 0.1})
    )
    assert whole == noisy, "nobody poisons: the same run"
    assert whole != shirts, "ASR is measured on other images"
