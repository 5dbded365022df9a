"""What a summary says of a run in which something did not happen."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedcrucible_core.records.detection import pooled_detection
from fedcrucible_core.records.schema import NOT_FINITE, TRIGGERED_NOT_FINITE, RoundRecord, RunDescription, RunSummary
from fedcrucible_core.records.summary import summarize

RUN = RunDescription(
    strategy="flame", attack="badnets", rule="flame", seed=1, rounds=3, class_names=("a", "b"), test_images=100,
    malicious=(0, 1), attack_expected=True,
)  # fmt: skip


def rounds(*models: str, attacking: tuple[int, ...] = (0, 1), ma: float = 90.0, **more: object) -> list[RoundRecord]:
    first = RoundRecord(round=0, ma_percent=50.0, asr_percent=1.0, model="initial", attacking=())
    fields: dict[str, object] = {
        "ma_percent": ma, "asr_percent": 5.0, "attack_active": bool(attacking), "attacking": attacking,
        "malicious": (0, 1), "participants": (0, 1, 2), "accepted": (1, 2), "rejected": (0,),
        "weights": {"0": 0.0, "1": 0.5, "2": 0.5},
    }  # fmt: skip
    made = [
        RoundRecord.model_validate({**fields, **more, "round": number, "model": model})
        for number, model in enumerate(models, 1)
    ]
    return [first, *made]


def test_a_run_in_which_all_went_well_has_nothing_to_say() -> None:
    summary = summarize(RUN, rounds("changed", "changed", "changed"))
    assert (summary.state, summary.notes, summary.rounds_changed, summary.attack_rounds) == ("ok", (), 3, 3)


def test_a_run_that_never_left_the_initial_model_is_unchanged() -> None:
    summary = summarize(RUN, rounds("initial", "initial", "initial"))
    assert (summary.state, summary.rounds_changed) == ("unchanged", 0)
    assert summary.notes[0].startswith("no round changed the model")


def test_one_that_ends_where_it_began_too() -> None:
    """A rule that lets training start over in the last round."""
    summary = summarize(RUN, rounds("changed", "changed", "initial"))
    assert (summary.state, summary.rounds_changed) == ("unchanged", 2)
    assert "training started over in the end" in summary.notes[0]
    assert summarize(RUN, rounds("initial", "changed", "kept")).state == "ok"


def test_a_model_that_no_client_ever_moved_is_the_servers_alone() -> None:
    """A purifier trains on its own data though every reply was dropped."""
    silent = rounds("changed", "changed", weights={}, accepted=(), rejected=())
    summary = summarize(RUN, silent)
    assert summary.state == "alone"
    assert "no client's update ever entered the model" in summary.notes[0]
    assert summarize(RUN.model_copy(update={"rule": ""}), silent).state == "ok", "a control without clients"
    rejected = rounds("changed", weights={"0": 0.0, "1": 0.0, "2": 0.0})
    assert summarize(RUN, rejected).state == "alone"
    assert summarize(RUN, [*silent, *rounds("changed")[1:]]).state == "ok"


def test_rounds_without_progress_are_counted() -> None:
    summary = summarize(RUN, rounds("changed", "kept", "kept"))
    assert summary.state == "ok"
    assert "2 of 3 rounds left the model without progress" in summary.notes


def test_without_any_round_there_was_nothing_to_learn() -> None:
    assert summarize(RUN, rounds()).state == "ok"


def test_a_repair_is_no_round_of_training() -> None:
    repaired = RoundRecord(round=4, stage="repair", ma_percent=60.0, model="changed")
    assert summarize(RUN, [*rounds("initial", "initial", "initial"), repaired]).state == "unchanged"


@pytest.mark.parametrize("fact", [NOT_FINITE, TRIGGERED_NOT_FINITE])
def test_outputs_that_are_not_finite_make_a_dead_model(fact: str) -> None:
    summary = summarize(RUN, rounds("changed", "changed", facts={fact: 25.0}))
    assert summary.state == "dead"
    assert "the final model is dead" in summary.notes[0]
    assert "25.0 %" in summary.notes[0]
    assert summarize(RUN, [*rounds("changed", facts={fact: 25.0}), rounds("changed")[1]]).state == "ok", "recovered"


def test_older_records_are_unknown_and_never_flagged() -> None:
    old = [r.model_copy(update={"model": None, "attacking": None}) for r in rounds("changed", "changed", ma=90.0)]
    summary = summarize(RUN.model_copy(update={"attack_expected": None}), old)
    assert (summary.state, summary.rounds_changed, summary.attack_rounds, summary.notes) == ("unknown", None, 2, ())
    written = RunSummary.model_validate_json('{"strategy": "s", "attack": "a", "seed": 1, "rounds": 1}')
    assert (written.state, written.notes) == ("unknown", ())


def test_an_attack_in_which_nobody_attacked_is_told() -> None:
    idle = rounds("changed", "changed", attacking=())
    summary = summarize(RUN, idle)
    assert summary.attack_rounds == 0
    assert any(note.startswith("no client attacked in any round") for note in summary.notes)
    chosen = summarize(RUN.model_copy(update={"attack_expected": False, "malicious": ()}), idle)
    assert chosen.notes == (), "a control without attackers is a choice"


def test_who_has_nothing_to_attack_with_counts_as_honest() -> None:
    """Client 0 is rejected and 1 accepted in both rounds; only 1 attacks."""
    found = pooled_detection(rounds("changed", "changed", attacking=(1,)))
    assert found is not None
    assert (found.true_positives, found.false_negatives, found.false_positives, found.true_negatives) == (0, 2, 2, 2)
    nobody = pooled_detection(rounds("changed", "changed", attacking=()))
    assert nobody is not None
    assert nobody.tpr_percent is None
    assert summarize(RUN, rounds("changed", attacking=())).malicious_weight_percent is None


def test_accuracy_at_chance_is_told_and_no_flaw() -> None:
    summary = summarize(RUN, rounds("changed", ma=52.0))
    assert summary.state == "ok"
    assert "not above chance (50.0 % with 2 classes)" in summary.notes[0]


def test_most_replies_lost_are_told() -> None:
    lost = {"participants": (0, 1, 2), "dropped": {"0": "NaN", "2": "NaN"}}
    assert (
        "4 of 6 replies of clients were dropped, and never reached the rule"
        in summarize(RUN, rounds("changed", "changed", **lost)).notes
    )


def test_notes_of_the_run_come_first(tmp_path: Path) -> None:
    run = RUN.model_copy(update={"notes": ("measured on the validation split",)})
    notes = summarize(run, rounds("initial")).notes
    assert notes[0] == "measured on the validation split"
    assert len(notes) == 2


def test_sites_that_were_lost_are_named_and_a_missed_quorum_goes_first() -> None:
    """A reply that is no good says something against the site, and is told otherwise."""
    invalid = summarize(RUN, rounds("changed", "changed", dropped={"2": "record 'model' is missing"}))
    assert (invalid.status, invalid.lost, invalid.notes) == ("partial", {"2": 2}, ())

    late = rounds("changed", "changed", dropped={"2": "no reply in time"}, absent=(4,))
    late[2] = late[2].model_copy(update={"absent": (), "quorum_missed": "lost: client 2 (no reply in time)"})
    summary = summarize(RUN, late)
    assert (summary.status, summary.rounds_degraded, summary.never_heard) == ("degraded", 1, (2, 4))
    assert summary.notes == (
        "degraded: round 2 of 2 missed the quorum; first, round 2: lost: client 2 (no reply in time)",
        "sites were offline, late or could not be reached: client 2 in 2, client 4 in 1 of 2 rounds",
    )
