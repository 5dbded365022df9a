"""What is known of an attack before the first round, and that who is called idle uploads honest work."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from attacks.adversary import ATTACKS, Adversary
from attacks.contracts.setting import Texts
from attacks.own_rows import own_rows
from attacks.poisoner import POISONERS
from attacks.poisoning import poison_count
from attacks.task import AttackTask
from attacks.uploader import UPLOADERS, PlainUpload
from attacks.uploads.lp import LP
from fedcrucible_core.config.load import load
from fedcrucible_core.config.sections import PoisonSection
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.records.reader import read
from server_app.attack_facts import AttackFacts, attack_facts
from server_app.plan import Plan
from tests.support.quick_attacks import quick_keys
from tests.support.tiny_runs import play, settings
from tests.support.tiny_task import context, labelled, make_task, poisoned_rows

ONE_CLASS_EACH: dict[str, Scalar] = {
    "partition.name": "main-class",
    "partition.main-class.q": 1.0,
    "federation.clients": 10,
    "adversary.malicious_ids": "0,1,2,3,4,5,6,7,8,9",
}


def plan(**changes: Scalar) -> Plan:
    return Plan.make(load(settings(**changes)))


def facts(**changes: Scalar) -> AttackFacts:
    return attack_facts(plan(**changes), shares_known=True)


def one_note(found: AttackFacts) -> str:
    assert len(found.notes) == 1, found.notes
    return found.notes[0]


def test_an_ordinary_attack_has_nothing_to_be_said_about() -> None:
    assert facts() == AttackFacts(True, (), ())


@pytest.mark.parametrize(
    "changes",
    [
        {"attack__name": "none"},
        {"adversary__malicious_fraction": 0.0},
        {"strategy": "server-data-only", "adversary__malicious_fraction": 0.01},
    ],
)
def test_a_chosen_control_is_none_that_failed(changes: dict[str, Scalar]) -> None:
    assert facts(**changes) == AttackFacts(False, (), ())


def test_a_share_that_is_nobody() -> None:
    assert one_note(facts(adversary__malicious_fraction=0.1)) == (
        "nobody is malicious: adversary.malicious_fraction = 0.1 of 5 clients is less than one"
    )


def test_a_window_after_the_end() -> None:
    found = facts(adversary__start_round=3)
    assert "adversary.start_round = 3 is after the last round, run.rounds = 2" in one_note(found)
    assert facts(adversary__start_round=2).notes == ()


def test_an_exact_share_of_a_round_that_is_nobody() -> None:
    found = facts(adversary__participation="exact", federation__fraction_train=0.4)
    assert "of the 2 clients of a round, which is less than one client" in one_note(found)


def test_a_ratio_that_rounds_to_no_image() -> None:
    found = facts(poison__ratio=0.001)
    assert len(found.idle) == 2
    assert one_note(found).startswith("2 of 2 malicious clients poison no sample (poison.ratio = 0.001 of at most")
    assert facts(poison__ratio=0.001, poison__mode="append-all").notes == (), "no ratio there"


def test_attackers_that_hold_only_the_targets_images() -> None:
    """One class per client: whoever has the target's alone has nothing to put a trigger on."""
    made = plan(**ONE_CLASS_EACH)
    labels = made.data.train.labels
    only = [p for p in range(10) if bool((labels[own_rows(made.config, p)] == 0).all())]
    found = attack_facts(made, shares_known=True)
    assert only
    assert list(found.idle) == only
    assert f"{len(only)} of 10 malicious clients poison no sample (they hold no image that" in one_note(found)


def test_clean_label_attackers_without_an_image_of_the_target() -> None:
    made = plan(**ONE_CLASS_EACH, attack__name="sig", poison__ratio=1.0)
    labels = made.data.train.labels
    without = [p for p in range(10) if not bool((labels[own_rows(made.config, p)] == 0).any())]
    found = attack_facts(made, shares_known=True)
    assert list(found.idle) == without != []
    assert "they hold no image of the target class 0" in one_note(found)


def test_a_rare_share_of_nothing() -> None:
    assert "2 of 2 malicious clients" in one_note(
        facts(attack__name="edge-case", **{"attack.edge-case.rare_ratio": 0.0})
    )
    assert facts(attack__name="edge-case").notes == ()


def test_semantic_attackers_have_what_is_given_to_them() -> None:
    assert facts(attack__name="semantic", task__test_samples=2000).notes == ()
    own = facts(attack__name="semantic", attack__semantic__images="own", task__test_samples=2000)
    assert own.idle


def test_attacks_on_the_upload_act_without_any_image() -> None:
    assert facts(attack__name="sign-flip", poison__ratio=0.0) == AttackFacts(True, (), ())
    found = facts(attack__name="model-replacement", poison__ratio=0.0)
    assert found.idle == ()
    assert "plant no backdoor" in one_note(found)


def test_of_nodes_with_data_of_their_own_nothing_is_said() -> None:
    made = plan(poison__ratio=0.0)
    assert attack_facts(made, shares_known=False) == AttackFacts(True, (), ())
    late = attack_facts(plan(adversary__start_round=9), shares_known=False)
    assert "never happens" in one_note(late)


@pytest.mark.parametrize("central", [False, True])
def test_what_a_poisoner_prepared_is_told(central: bool) -> None:
    more: dict[str, Scalar] = {"strategy": "central", "poison__central": True} if central else {}
    found = attack_facts(plan(attack__name="ssba", **quick_keys("ssba"), **more), shares_known=True).notes
    assert any("ssba prepared its trigger: bits_read_back_percent = " in note for note in found), found


def sixty(name: str) -> AttackTask:
    """Sixty samples of the kind that a poisoner is for."""
    if POISONERS[name].task != "text":
        return make_task(labelled(60), target=0)
    ground = Texts.of(32, 16)
    return replace(ground.task(ground.samples(60, 9)), target=0)


@pytest.mark.parametrize("name", sorted(set(POISONERS) - {"none"}))
@pytest.mark.parametrize("ratio", [0.0, 0.004, 0.3, 1.0])
@pytest.mark.parametrize("mode", ["replace", "append-all"])
def test_the_count_is_what_the_data_set_holds(name: str, ratio: float, mode: str) -> None:
    """Counted, never drawn: as many samples differ from the attacker's own as the count says."""
    quick: dict[str, Scalar] = {**quick_keys(name), "attack__fmb__self_mix": 0.0}
    config = load(settings(**quick, attack__name=name, poison__ratio=ratio, poison__mode=mode))
    attack = Adversary.of(config).poisoner
    task = sixty(name)
    train, own = task.train, torch.arange(5, 55)
    ctx = replace(context(task, section=config.poison), artefact=attack.prepare(task, torch.Generator().manual_seed(1)))
    count = poison_count(train.subset(own), attack, ctx)
    x, y = poisoned_rows(attack, config.poison, ctx, own)
    plain = train.subset(own)
    pixels = plain.for_model()
    same = [bool(((pixels == a).flatten(1).all(1) & (plain.labels == b)).any()) for a, b in zip(x, y, strict=True)]
    changed = len(x) - sum(same)
    decoys = attack.decoy_count(count.poisoned, count.eligible) if attack.poisons_own else 0
    assert count.total <= changed <= count.total + decoys
    assert (count.total == 0) == (changed == 0)


def test_labels_that_stay_are_no_poison() -> None:
    """Reversed labels of an odd number of classes leave the middle one as it is."""
    train = labelled(30)
    task = make_task(train.subset((train.labels < 5).nonzero().flatten()), classes=5)
    attack, every = POISONERS.create("label-flip"), context(task, section=PoisonSection(ratio=1.0))
    middle = task.train.subset((task.train.labels == 2).nonzero().flatten())
    assert poison_count(middle, attack, every).total == 0
    assert poison_count(task.train, attack, every).total == len(task.train) - len(middle)


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_who_touches_uploads_says_so(name: str) -> None:
    """Only layer poisoning, which falls back on the clean model, is exempt."""
    uploader = Adversary.of(load({"attack.name": name})).uploader
    touches = not isinstance(uploader, PlainUpload)
    assert touches is (name in UPLOADERS)
    assert uploader.acts_unpoisoned(True) is (touches and type(uploader) is not LP)


@pytest.mark.parametrize("attack", ["badnets", "lp", "label-flip"])
def test_the_idle_upload_honest_work(attack: str, runs_folder: Path) -> None:
    """The run ends in the same model as one without attackers, and its rejected attackers are no hits."""
    idle, rows = play(attack__name=attack, poison__ratio=0.0, run__rounds=1)
    honest, _ = play(adversary__malicious_fraction=0.0, run__rounds=1)
    assert idle.parameters_sha256 == honest.parameters_sha256
    assert idle.attack_rounds == 0
    assert idle.detection is not None
    assert idle.detection.tpr_percent is None
    assert rows[1].malicious != ()
    assert rows[1].attacking == ()
    assert not rows[1].attack_active
    written = read(Path(idle.folder))
    assert written.run.idle == written.run.malicious
    assert any("malicious clients poison no sample" in note for note in written.run.notes)
    assert any("no client attacked in any round" in note for note in idle.notes)
    assert not any("attack" in note for note in honest.notes)


def test_attackers_that_are_never_drawn_are_told_at_the_end(runs_folder: Path) -> None:
    for partition in range(5):
        summary, rows = play(adversary__malicious_ids=str(partition), federation__fraction_train=0.4, run__rounds=1)
        drawn = partition in rows[1].participants
        assert any("no client attacked in any round" in note for note in summary.notes) is not drawn
        assert (summary.attack_rounds == 1) is drawn


def test_a_run_whose_replies_are_all_dropped_is_unchanged(runs_folder: Path) -> None:
    summary, rows = play(training__lr=1e30, training__batch_size=8, run__rounds=2)
    assert [row.model for row in rows] == ["initial"] * 3
    assert (summary.state, summary.rounds_changed) == ("unchanged", 0)
    assert any("no round changed the model" in note for note in summary.notes)
    assert any("replies of clients were dropped" in note for note in summary.notes)


@pytest.mark.parametrize(
    "changes", [{"run__rounds": 0}, {"strategy": "guide-zero-shot"}, {"strategy": "server-data-only"}]
)
def test_controls_that_train_nobody_are_not_flagged(changes: dict[str, Scalar], runs_folder: Path) -> None:
    summary, _ = play(**changes)
    assert summary.state == "ok"
    assert not any("changed the model" in note for note in summary.notes)


def test_a_model_whose_outputs_overflow_is_dead(runs_folder: Path) -> None:
    """Parameters are finite, so the reply is taken; their products are not."""
    summary, rows = play(attack__name="gaussian", attack__gaussian__sigma=1e30, run__rounds=1, poison__target_label=0)
    assert rows[1].model == "changed"
    assert summary.state == "dead"
    assert summary.ma_percent == 0.0
    assert rows[1].facts["evaluate.not_finite_percent"] == 100.0
    assert "the final model is dead" in " ".join(summary.notes)
