"""An attack that finds nothing to do says so: its upload is honest work, whatever the client is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedcrucible_core.config.values import Scalar
from fedcrucible_core.records.reader import read
from fedcrucible_core.records.schema import RoundRecord, RunDescription
from fedcrucible_core.records.summary import summarize
from tests.support.tiny_runs import play

LONE: dict[str, Scalar] = {"adversary__malicious_fraction": 0.2, "run__rounds": 1}


@pytest.mark.parametrize("attack", ["min-max", "min-sum", "alie", "lp", "lf", "lp-adaptive"])
def test_an_honest_upload_is_no_attack(attack: str, runs_folder: Path) -> None:
    """A lone attacker has no deviation to hide in; layer poisoning has no layers before its training succeeds."""
    clean, _ = play(**LONE, attack__name="none", strategy="flame")
    summary, rounds = play(**LONE, attack__name=attack, strategy="flame")
    assert summary.parameters_sha256 == clean.parameters_sha256, "the upload was honest, bit for bit"
    (attacker,) = read(Path(summary.folder)).run.malicious
    assert (rounds[1].attackers, rounds[1].rested, rounds[1].attack_active) == ((), (attacker,), False)
    assert summary.attack_rounds == 0
    assert summary.detection is not None
    assert summary.detection.tpr_percent is None
    assert any("the attack found nothing to do: they count as honest" in note for note in summary.notes)
    assert any(note.startswith("no client attacked in any round") for note in summary.notes)


@pytest.mark.parametrize("attack", ["ipm", "sign-flip", "gaussian", "model-replacement", "label-flip", "badnets"])
def test_an_attack_is_one(attack: str, runs_folder: Path) -> None:
    summary, rounds = play(**LONE, attack__name=attack)
    assert (len(rounds[1].attackers), rounds[1].rested) == (1, ())
    assert summary.attack_rounds == 1


def test_two_that_collude_have_a_deviation(runs_folder: Path) -> None:
    _, rounds = play(attack__name="min-max", run__rounds=1)
    assert len(rounds[1].attackers) == 2
    _, alone = play(attack__name="min-max", run__rounds=1, adversary__collusion="alone")
    assert (len(alone[1].attackers), len(alone[1].rested)) == (0, 2)


def test_who_is_known_to_be_idle_is_not_told_twice(runs_folder: Path) -> None:
    summary, rounds = play(poison__ratio=0.0, run__rounds=1)
    assert rounds[1].rested == ()
    assert sum("poison no sample" in note for note in summary.notes) == 1
    assert not any("found nothing to do" in note for note in summary.notes)


RUN = RunDescription(strategy="flame", attack="lp", rule="flame", seed=1, malicious=(0, 1), attack_expected=True)


def _round(number: int, **fields: object) -> RoundRecord:
    given = {"round": number, "model": "changed", "ma_percent": 90.0, "asr_percent": 5.0, "malicious": (0, 1),
             "participants": (0, 1, 2), "attacking": (0, 1), "weights": {"2": 1.0}, "accepted": (2,)}  # fmt: skip
    return RoundRecord.model_validate(given | fields)


def test_an_attack_whose_every_reply_was_dropped_never_reached_the_model() -> None:
    gone = {"0": "not finite", "1": "not finite"}
    notes = summarize(RUN, [_round(1, dropped=gone), _round(2, dropped=gone)]).notes
    said = (
        "all 4 replies of attacking clients were dropped before the rule saw them: the attack never reached the model"
    )
    assert said in notes
    assert summarize(RUN, [_round(1, dropped=gone), _round(2, dropped={"0": "not finite"})]).notes == ()


def test_a_model_that_was_dead_on_the_way_is_told() -> None:
    dead = _round(2, asr_percent=0.0, ma_percent=0.0, facts={"evaluate.not_finite_percent": 100.0})
    found = summarize(RUN, [_round(1), dead, _round(3)])
    assert found.state == "ok"
    assert found.notes[0].startswith("the model's outputs weren't finite for some images after round 2:")


def test_a_model_that_needs_no_trigger_is_told() -> None:
    notes = summarize(RUN, [_round(1, asr_percent=100.0, base_rate_percent=97.0)]).notes
    assert notes == (
        "97.0 % of the images are called the target without any trigger: the ASR of 100.0 % is mostly that",
    )
