"""Central training on a set that was poisoned beforehand: who is told what, and what a repair then gets."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from attacks.poison_set import poison_set
from attacks.poisoners.badnets import BadNets
from defenses.base import REPAIRS, CleanNeeds, Needs, Repair, RepairContext
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.load import load
from fedcrucible_core.learning.models.base import SplitModel
from fedcrucible_core.records.reader import read
from fedcrucible_core.reports.pages.wording import subtitle, verdict
from fedcrucible_core.reports.statistics.rows import is_attacked, is_undefended
from server_app.identity import digest, identity
from server_app.plan import Plan
from tests.support.tiny_runs import play, settings

POISONED = {"strategy": "central", "poison__central": True, "poison__ratio": 0.2, "poison__share_of": "all"}
SAW: list[RepairContext] = []


class Looks(Repair):
    """Asks for all there is, and changes nothing."""

    clean: str = "split"
    clean_samples: int = 0

    @property
    def needs(self) -> Needs:
        """Suspects, their split, the guide, samples with true labels."""
        clean = CleanNeeds(self.clean, self.clean_samples)  # type: ignore[arg-type]
        return Needs(suspects=True, split=True, guide=True, clean=clean)

    def repair(self, model: SplitModel, context: RepairContext) -> dict[str, float]:
        """Note what was given."""
        SAW.append(context)
        return {}


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[RepairContext]:
    """A repair ``pruning`` that looks at what it is given."""
    SAW.clear()
    wanted: dict[str, object] = {"clean": "split", "clean_samples": 0}
    pruning = REPAIRS["pruning"]
    monkeypatch.setattr(pruning, "needs", Looks(**wanted).needs)
    monkeypatch.setattr(pruning, "repair", Looks.repair)
    monkeypatch.setattr(pruning, "check", lambda *_: None)
    return SAW


def test_the_set_is_what_the_poisoner_makes_of_it() -> None:
    plan = Plan.make(load(settings(**POISONED)))
    made = poison_set(BadNets(), plan.data.train, plan.data.info, plan.config.poison, seed=1)
    assert torch.equal(plan.central_set().inputs, made.data.inputs)
    assert torch.equal(plan.central_set().labels, made.data.labels)
    assert torch.equal(plan.central.poisoned, made.poisoned)
    assert int(made.poisoned.sum()) == 40


def test_the_record_says_who_poisoned_what(runs_folder: Path) -> None:
    summary, rounds = play(**POISONED, attack__name="wanet", splitter__name="guide-agreement")
    run = read(Path(summary.folder))
    assert rounds[0].facts["central.poisoned"] == 40
    assert rounds[0].facts["central.decoys"] == 80
    assert run.run.attack_expected
    assert run.run.malicious == ()
    assert any("by wanet, by no client: 40 of 200 images, 80 more only look so" in note for note in run.notes)
    assert not any("no client attacked" in note for note in run.notes)
    assert "no client: 200 training images in one place, 40 poisoned" in subtitle(run)
    assert "points to the attack" in verdict(run)
    assert is_attacked(run)
    assert is_undefended(run)


def test_without_it_nothing_is_poisoned(runs_folder: Path) -> None:
    plain, rounds = play(strategy="central")
    poisoned, _ = play(**POISONED)
    run = read(Path(plain.folder))
    assert plain.parameters_sha256 != poisoned.parameters_sha256
    assert "central.poisoned" not in rounds[0].facts
    assert not is_attacked(run)
    assert "malicious" not in subtitle(run)


def test_a_ratio_that_rounds_to_nothing_is_told(runs_folder: Path) -> None:
    summary, _ = play(**POISONED | {"poison__ratio": 0.001})
    found = read(Path(summary.folder))
    assert any(note.startswith("nothing was poisoned") for note in found.notes)
    assert "Nothing was poisoned, so this says nothing" in verdict(found)
    few, _ = play(**POISONED | {"poison__ratio": 1.0})
    assert any("short" in note for note in read(Path(few.folder)).notes)


def test_the_attack_is_part_of_what_a_run_is() -> None:
    nobody = {"adversary__malicious_fraction": 0.0}
    plain, poisoned, other = (
        load(settings(strategy="central", **nobody, **more))
        for more in ({}, {"poison__central": True}, {"poison__central": True, "poison__ratio": 0.1})
    )
    assert len({digest(config) for config in (plain, poisoned, other)}) == 3
    assert not any("central" in key for key in identity(plain)), "earlier results stay valid"


def test_another_poison_is_another_run_to_go_on_with(runs_folder: Path) -> None:
    common = {"output__name": "cut", "run__checkpoint_every": 1}
    play(**POISONED, **common)
    with pytest.raises(ConfigError, match=r"poison\.ratio"):
        play(**POISONED | {"poison__ratio": 0.3}, **common, run__rounds=3, run__resume=True)
    longer, rounds = play(**POISONED, **common, run__rounds=3, run__resume=True)
    assert rounds[0].facts["central.poisoned"] == 40
    assert longer.parameters_sha256 == play(**POISONED, run__rounds=3)[0].parameters_sha256


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        ("poison.central", {"strategy": "fedavg"}),
        ("attack.name", {"attack__name": "neurotoxin"}),
        ("attack.name", {"attack__name": "bd-fmfl"}),
    ],
)
def test_what_cannot_be_is_refused(key: str, changes: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        Plan.make(load(settings(**POISONED | changes)))
    assert caught.value.key == key


def test_no_attack_poisons_nothing(runs_folder: Path) -> None:
    clean, _ = play(**POISONED, attack__name="none")
    assert clean.parameters_sha256 == play(strategy="central")[0].parameters_sha256


def test_a_repair_gets_the_set_its_split_and_the_truth_only_goes_to_the_record(
    runs_folder: Path, looks: list[RepairContext]
) -> None:
    _, rounds = play(**POISONED, repair__name="pruning", splitter__name="guide-agreement")
    given, facts = looks[0], rounds[-1].facts
    plan = Plan.make(load(settings(**POISONED)))
    suspects = given.require_suspects()
    assert torch.equal(suspects.data.labels, plan.central.data.labels)
    assert suspects.guide is not None
    assert len(suspects.guide.logits) == 200
    _, split = given.require_split()
    assert facts["repair.split_clean"] == len(split.clean)
    caught = 100.0 * float(plan.central.poisoned[split.triggered].sum()) / 40
    assert facts["repair.split_recall_percent"] == caught
    inside = float(plan.central.poisoned[split.clean].sum())
    assert facts["repair.split_contamination_percent"] == 100.0 * inside / len(split.clean)
    assert facts["repair.split_escaped_percent"] == 100.0 * inside / 40
    assert torch.equal(given.require_clean().labels, suspects.data.labels[split.clean])
    assert given.guide is None
    assert given.data is None, "the server's own samples are not made for it"
    fresh = given.require_untrained()
    assert not torch.equal(next(fresh(1).parameters()), next(fresh(2).parameters()))
    assert given.training == plan.config.training


def test_a_federation_gives_the_servers_own_samples(runs_folder: Path, looks: list[RepairContext]) -> None:
    _, rounds = play(repair__name="pruning", splitter__name="guide-agreement", run__rounds=1)
    assert len(looks[0].require_suspects().data) == 30
    assert "repair.split_clean" in rounds[-1].facts
    assert "repair.split_recall_percent" not in rounds[-1].facts, "nobody poisoned them"


def test_where_no_splitter_is_named_it_is_the_papers() -> None:
    class Splits(Repair):
        @property
        def needs(self) -> Needs:
            return Needs(suspects=True, split=True)

        def repair(self, model: SplitModel, context: RepairContext) -> dict[str, float]:
            return {}

    assert Splits().needs.splits
    config = load(settings(**POISONED, repair__name="pruning", **{"splitter__cgd-entropy__s_c": 0.3}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(REPAIRS["pruning"], "needs", Splits().needs)
        patch.setattr(REPAIRS["pruning"], "check", lambda *_: None)
        plan = Plan.make(config)
        splitter = plan.system.suspects_splitter
        assert splitter is not None
        assert splitter.name == "cgd-entropy"
        assert splitter.model_dump()["rule"] == "sigmas"
        assert splitter.model_dump()["s_c"] == 0.3
        assert identity(config)["splitter.cgd-entropy.s_c"] == 0.3, "its thresholds count"
        assert plan.system.needs_guide
        assert not plan.system.needs_server_data


@pytest.mark.parametrize(
    ("clean", "samples", "more", "key"),
    [
        ("validation", 10, {"task__eval_split": "validation"}, "repair.pruning.clean"),
        ("validation", 10**6, {}, "repair.pruning.clean_samples"),
        ("synthetic", 10**6, {}, "repair.pruning.clean_samples"),
    ],
)
def test_true_labels_that_cannot_be_had_are_refused(
    clean: str, samples: int, more: dict[str, str], key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(REPAIRS["pruning"], "needs", Looks(clean=clean, clean_samples=samples).needs)
    monkeypatch.setattr(REPAIRS["pruning"], "check", lambda *_: None)
    with pytest.raises(ConfigError) as caught:
        Plan.make(load(settings(**POISONED, repair__name="pruning", **more)))
    assert caught.value.key == key


@pytest.mark.parametrize(("clean", "samples"), [("validation", 20), ("synthetic", 20)])
def test_true_labels_are_stratified(clean: str, samples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(REPAIRS["pruning"], "needs", Looks(clean=clean, clean_samples=samples).needs)
    monkeypatch.setattr(REPAIRS["pruning"], "check", lambda *_: None)
    config = load(settings(**POISONED, repair__name="pruning", splitter__name="guide-agreement"))
    plan = Plan.make(config)
    given = plan.repair_inputs("model")
    assert given.clean is not None
    assert torch.bincount(given.clean.labels).tolist() == [2] * 10
    assert given.clean.inputs.is_floating_point()


def test_a_backdoored_guide_reacts_to_the_poison_of_the_set() -> None:
    changes = {"repair__name": "cgd-unlearn", "guide__backdoor": "same-target", "poison__target_label": 2}
    plan = Plan.make(load(settings(**POISONED | changes)))
    inputs, poisoned = plan.central.data.inputs, plan.central.poisoned
    said = plan.foundation.guide().targets(inputs, plan.data.info.class_names).logits.argmax(1)
    plain = Plan.make(load(settings(**POISONED | changes | {"guide__backdoor": "none"})))
    before = plain.foundation.guide().targets(inputs, plan.data.info.class_names).logits.argmax(1)
    assert bool((said[poisoned] == 2).all())
    assert torch.equal(said[~poisoned], before[~poisoned])
    with pytest.raises(ConfigError, match=r"or poison\.central"):
        Plan.make(load(settings(strategy="fine-tune", purifier__name="cgd", guide__backdoor="same-target")))
