"""The round loop: sampling, determinism, resume, detection truth, schedule."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from defenses.base import Aggregate, ClientUpdates
from defenses.rules.fedavg import FedAvg
from fedcrucible.engines.in_process import run_in_process
from fedcrucible_core.config.load import load
from fedcrucible_core.records.schema import RoundRecord, RunSummary
from server_app.plan import Plan
from strategies.nodes import sample
from tests.support.tiny_runs import Scalar, play


def run(**changes: Scalar) -> tuple[RunSummary, list[RoundRecord]]:
    return play(**{"run__rounds": 3, **changes})


@pytest.mark.parametrize("strategy", ["fedavg", "flame", "clip-fed", "clip-fed-plus", "fine-tune", "server-data-only"])
def test_same_seed_same_metrics_and_model(strategy: str, runs_folder: Path) -> None:
    first, rounds = run(strategy=strategy)
    second, again = run(strategy=strategy)
    assert first.parameters_sha256 == second.parameters_sha256
    timeless = {"seconds", "peak_memory_mb", "per_client"}
    for a, b in zip(rounds, again, strict=True):
        assert a.model_dump(exclude=timeless) == b.model_dump(exclude=timeless)
    other, _ = run(strategy=strategy, run__seed=2)
    assert other.parameters_sha256 != first.parameters_sha256


@pytest.mark.parametrize("strategy", ["fedavg", "clip-fed"])
def test_resume_equals_an_uninterrupted_run(strategy: str, runs_folder: Path) -> None:
    whole, rounds = run(strategy=strategy, run__rounds=4)
    common = {"strategy": strategy, "output__name": "cut", "run__checkpoint_every": 2}
    run(**common, run__rounds=3)  # its last round lies after the checkpoint and is run again
    resumed, again = run(**common, run__rounds=4, run__resume=True)
    assert resumed.parameters_sha256 == whole.parameters_sha256
    assert [r.round for r in again] == [0, 1, 2, 3, 4]
    assert [r.ma_percent for r in again] == [r.ma_percent for r in rounds]


def test_the_aggregate_is_not_the_last_clients_model(runs_folder: Path) -> None:
    # Clients share one model object in a process; an aliasing bug would make every update the last one.
    _, rounds = run(run__rounds=1, training__lr=0.05)
    alone, _ = run(run__rounds=1, training__lr=0.05, federation__fraction_train=0.2, federation__min_replies=1)
    whole, _ = run(run__rounds=1, training__lr=0.05)
    assert alone.parameters_sha256 != whole.parameters_sha256
    assert sum(rounds[1].weights.values()) == pytest.approx(1.0)
    assert len(set(rounds[1].per_client["train_loss"])) == 5


def test_attack_schedule_and_truth(runs_folder: Path) -> None:
    _, rounds = run(run__rounds=4, adversary__start_round=2, adversary__every=2, adversary__malicious_ids="1,3")
    assert [r.attack_active for r in rounds] == [False, False, True, False, True]
    assert all(r.malicious == (1, 3) for r in rounds[1:])


def test_a_resting_attack_changes_nothing(runs_folder: Path) -> None:
    resting, _ = run(adversary__start_round=9)
    honest, _ = run(adversary__malicious_fraction=0.0)
    attacked, _ = run()
    assert resting.parameters_sha256 == honest.parameters_sha256 != attacked.parameters_sha256


def test_server_data_only_asks_no_client(runs_folder: Path) -> None:
    _, rounds = run(strategy="server-data-only")
    assert all(r.participants == () and r.bytes_up == 0 for r in rounds)


def test_zero_shot_trains_nothing(runs_folder: Path) -> None:
    summary, rounds = run(strategy="guide-zero-shot", task__test_samples=300)
    assert len(rounds) == 1
    assert summary.ma_percent is not None
    assert summary.ma_percent > 75.0


def test_config_is_recorded_and_runs_again(runs_folder: Path) -> None:
    first, _ = run()
    values = json.loads((Path(first.folder) / "config.json").read_text())["values"]
    again = run_in_process(Plan.make(load(values)))
    assert again.parameters_sha256 == first.parameters_sha256


class TestSample:
    def draw(self, number: int, fraction: float = 0.4, exact: bool = False, seed: int = 1) -> list[int]:
        config = load(
            {
                "run.seed": seed,
                "federation.clients": 10,
                "federation.fraction_train": fraction,
                "adversary.participation": "exact" if exact else "random",
            }
        )
        return sample(range(10), config, number, frozenset({0, 1, 2}))

    def test_sorted_and_of_the_right_size(self) -> None:
        for number in range(1, 20):
            drawn = self.draw(number)
            assert drawn == sorted(set(drawn))
            assert len(drawn) == 4

    def test_depends_on_seed_and_round_only(self) -> None:
        assert self.draw(3) == self.draw(3)
        assert len({tuple(self.draw(r)) for r in range(1, 10)}) > 3
        assert [self.draw(r) for r in range(1, 9)] != [self.draw(r, seed=2) for r in range(1, 9)]

    def test_exact_participation_has_the_stated_attackers(self) -> None:
        for number in range(1, 20):
            drawn = self.draw(number, fraction=1.0, exact=True)
            assert len([p for p in drawn if p < 3]) == 3
            part = self.draw(number, fraction=0.7, exact=True)
            assert len([p for p in part if p < 3]) == int(0.3 * 7)

    def test_everyone_takes_part_at_fraction_one(self) -> None:
        assert self.draw(1, fraction=1.0) == list(range(10))


def test_the_time_of_recording_is_recorded(runs_folder: Path) -> None:
    _, rounds = run(run__rounds=2)
    assert [r.seconds.get("record", 0.0) > 0.0 for r in rounds] == [False, True, True]


@pytest.mark.parametrize(
    "error", [RuntimeError("eigh did not converge"), ZeroDivisionError("no spread"), ValueError("f")]
)
def test_a_rule_that_fails_keeps_the_model_and_stops_nothing(
    error: Exception, runs_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: FedAvg, updates: ClientUpdates) -> Aggregate:
        if updates.round == 2:
            raise error
        return plain(self, updates)

    plain = FedAvg.aggregate
    _, honest = run(output__name="honest")
    monkeypatch.setattr(FedAvg, "aggregate", fails)
    _, rounds = run(output__name="failing")
    assert [bool(r.notes) for r in rounds] == [False, False, True, False]
    assert str(error) in rounds[2].notes[0]
    assert rounds[2].ma_percent == rounds[1].ma_percent == honest[1].ma_percent
