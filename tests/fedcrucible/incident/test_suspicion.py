"""Which sites look guilty, and since when: from invented rounds whose culprit is known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch

from defenses.stored_updates import UpdateGeometry
from defenses.updates import ClientUpdates
from fedcrucible.failures import CommandError
from fedcrucible.incident.evidence import AWAY, Evidence, RoundEvidence, gather, rank
from fedcrucible.incident.suspicion import FLAGGED, Suspect, deviations, suspects
from fedcrucible.incident.truth import Truth
from fedcrucible_core.records.reader import RecordedRun
from fedcrucible_core.records.schema import RoundRecord, RunDescription
from fedcrucible_core.records.summary import summarize
from fedcrucible_core.records.writer import RunRecord

HONEST = (1.0, 1.1, 0.9, 1.05, 0.95)


def judged(number: int, scores: Sequence[float], **more: object) -> RoundRecord:
    """A round in which clients 0, 1, ... were judged with these scores."""
    n = len(scores)
    fields = {
        "round": number, "participants": tuple(range(n)), "accepted": tuple(range(n)),
        "weights": {str(site): 1 / n for site in range(n)}, "per_client": {"score": list(scores)},
    }  # fmt: skip
    return RoundRecord.model_validate(fields | more)


def evidence(rounds: Sequence[RoundRecord], geometry: Mapping[int, UpdateGeometry] | None = None) -> Evidence:
    description = RunDescription(strategy="s", attack="a", seed=1, rounds=len(rounds))
    run = RecordedRun(Path("x"), description, tuple(rounds), summarize(description, rounds), finished=True)
    kept = geometry or {}
    return Evidence(run, tuple(RoundEvidence(r, {"": kept[r.round]} if r.round in kept else {}) for r in rounds))


def worst(scores: Sequence[float], site: int = 3, value: float = 9.0) -> list[float]:
    return [value if who == site else score for who, score in enumerate(scores)]


def turned(start: int, rounds: int = 8, stop: int = 99) -> list[RoundRecord]:
    """Site 3 stands out from round ``start`` on."""
    numbers = range(1, rounds + 1)
    return [judged(i, worst(HONEST) if start <= i <= stop else HONEST) for i in numbers]


def test_the_site_that_turned_comes_first_since_the_round_in_which_it_did() -> None:
    ranking = suspects(evidence(turned(4)))
    first = ranking[0]
    assert (first.site, first.since, first.until, first.stands_out) == (3, 4, 8, True)
    assert first.before is not None
    assert first.before < 0.5 < 4.0 < first.during
    assert first.reasons == (("score", 5),)
    assert not any(suspect.stands_out for suspect in ranking[1:])
    assert sorted(suspect.site for suspect in ranking) == [0, 1, 2, 3, 4]


def test_a_stretch_has_an_end() -> None:
    first = suspects(evidence(turned(3, rounds=12, stop=5)))[0]
    assert (first.site, first.since, first.until) == (3, 3, 5)


def test_of_a_site_that_always_stood_out_nobody_knows_it_otherwise() -> None:
    first = suspects(evidence(turned(1)))[0]
    assert (first.site, first.since, first.before) == (3, 1, None)


def test_nobody_stands_out_where_all_are_alike() -> None:
    assert not any(suspect.stands_out for suspect in suspects(evidence(turned(99))))
    equal = [judged(i, [1.0] * 5) for i in range(1, 9)]
    assert all(suspect.suspicion == 0.0 and suspect.since is None for suspect in suspects(evidence(equal)))


def test_it_never_looks_at_the_truth() -> None:
    told = [r.model_copy(update={"malicious": (0,), "attacking": (0,), "attack_active": True}) for r in turned(4)]
    assert suspects(evidence(told)) == suspects(evidence(turned(4)))
    truth = Truth.of(evidence(told))
    ranking = suspects(evidence(told))
    assert truth.attackers == {0}
    assert truth.flagged(ranking).tpr_percent == 0.0
    assert truth.flagged(ranking).fpr_percent == 25.0
    assert truth.down_to(ranking, 5).tpr_percent == truth.down_to(ranking, 5).fpr_percent == 100.0
    assert Truth.of(evidence(turned(4))).flagged(ranking).tpr_percent is None, "nobody attacked"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_scores_that_are_no_numbers_speak_for_nothing(value: float) -> None:
    rounds = [judged(i, worst(HONEST, 1, value)) for i in range(1, 9)]
    ranking = suspects(evidence(rounds))
    assert all(math.isfinite(suspect.suspicion) for suspect in ranking)
    assert not any(suspect.stands_out for suspect in ranking)
    mixed = [judged(i, worst(worst(HONEST), 1, value)) for i in range(1, 9)]
    assert suspects(evidence(mixed))[0].site == 3


def test_one_site_only() -> None:
    ranking = suspects(evidence([judged(i, [3.0]) for i in range(1, 4)]))
    assert [(suspect.site, suspect.suspicion, suspect.judged) for suspect in ranking] == [(0, 0.0, 3)]


@pytest.mark.parametrize("n", [2, 3])
def test_few_sites(n: int) -> None:
    ranking = suspects(evidence([judged(i, [1.0] * (n - 1) + [9.0]) for i in range(1, 9)]))
    assert len(ranking) == n
    assert ranking[0].stands_out is (n > 2), "of two nobody knows which is the odd one"


def test_being_rejected_counts_where_few_are() -> None:
    def rounds(out: tuple[int, ...]) -> list[RoundRecord]:
        accepted = tuple(site for site in range(5) if site not in out)
        weights = {str(site): 0.0 if site in out else 1 / len(accepted) for site in range(5)}
        fields = {"rejected": out, "accepted": accepted, "weights": weights, "per_client": {}}
        return [judged(i, HONEST, **fields) for i in range(1, 31)]

    first = suspects(evidence(rounds((2,))))[0]
    assert (first.site, first.rejected, first.judged, first.stands_out) == (2, 30, 30, True)
    assert all(s.suspicion == 0.0 for s in suspects(evidence(rounds((0, 1, 2, 3))))), "Krum takes one: no evidence"


def test_one_round_alone_is_not_enough_by_one_number_in_two() -> None:
    once = judged(1, worst(HONEST), rejected=(), per_client={"score": worst(HONEST), "norm": list(HONEST)})
    found = deviations(RoundEvidence(once, {}))
    assert 0.0 < found[3][0] < FLAGGED


def test_dropped_replies_are_counted_and_are_no_verdict() -> None:
    gone = judged(1, [1.0] * 4, participants=(0, 1, 2, 3, 4), dropped={"4": "not finite"})
    ranking = suspects(evidence([gone]))
    found = next(suspect for suspect in ranking if suspect.site == 4)
    assert (found.dropped, found.judged, found.suspicion) == (1, 0, 0.0)
    assert evidence([gone]).rounds[0].verdict(4) == "dropped: not finite"
    assert ranking[0].site == 4, "of equally suspicious ones first those that were dropped"


def test_excluded_and_unsampled_sites_are_sites_too() -> None:
    rounds = [judged(1, HONEST), judged(2, HONEST[:3], excluded=(4,))]
    found = evidence(rounds)
    assert found.sites == [0, 1, 2, 3, 4]
    assert [found.rounds[1].verdict(site) for site in (0, 3, 4)] == ["accepted", "not sampled", "excluded"]


def test_a_round_whose_model_was_kept_judged_nobody() -> None:
    kept = judged(1, HONEST, weights={}, accepted=())
    found = evidence([kept])
    assert found.rounds[0].verdict(0) == "not judged"
    assert [suspect.judged for suspect in suspects(found)] == [0] * 5


def test_cosines_and_distances_come_from_what_was_kept() -> None:
    matrix = torch.ones(5, 8) + 0.1 * torch.randn(5, 8, generator=torch.Generator().manual_seed(1))
    matrix[2] = -matrix[2]
    each = RoundEvidence(judged(1, HONEST), {"": UpdateGeometry.of(ClientUpdates.bare(matrix))})
    others = torch.stack([matrix[[j for j in range(5) if j != i]].mean(0) for i in range(5)])
    wanted = torch.nn.functional.cosine_similarity(matrix.double(), others.double())
    assert list(each.cosines.values()) == pytest.approx(wanted.tolist(), abs=1e-6)
    assert each.norms == pytest.approx(dict(enumerate(matrix.norm(dim=1).tolist())), rel=1e-5)
    assert each.examples == dict.fromkeys(range(5), 1.0)
    assert max(each.signals[AWAY], key=lambda site: each.signals[AWAY][site]) == 2
    alone = RoundEvidence(judged(1, [1.0]), {"": UpdateGeometry.of(ClientUpdates.bare(matrix[:1]))})
    assert math.isnan(alone.cosines[0])
    zeros = RoundEvidence(judged(1, HONEST), {"": UpdateGeometry.of(ClientUpdates.bare(torch.zeros(5, 8)))})
    assert set(zeros.cosines.values()) == {0.0}


def test_places() -> None:
    assert rank({0: 1.0, 1: 3.0, 2: 3.0, 3: math.nan}, 1) == (1, 3)
    assert rank({0: 1.0, 1: 3.0, 2: 3.0}, 0) == (3, 3)
    assert rank({0: math.nan}, 0) is None
    assert rank({}, 0) is None


def test_long_runs_are_searched_too() -> None:
    rounds = [judged(i, worst(HONEST) if i >= 1900 else HONEST) for i in range(1, 2001)]
    first: Suspect = suspects(evidence(rounds))[0]
    assert (first.site, first.since) == (3, 1900)


def test_what_is_no_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="is no run record"):
        gather(tmp_path)
    record = RunRecord(tmp_path)
    record.write_run(RunDescription(strategy="central", attack="none", seed=1))
    record.append_round(RoundRecord(round=0))
    record.append_round(RoundRecord(round=1))
    with pytest.raises(CommandError, match="no client took part"):
        gather(tmp_path)
