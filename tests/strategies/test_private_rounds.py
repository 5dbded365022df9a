"""Differential privacy in the round loop: what it is told, what it spends, what a restart must not forget."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from defenses.kernels.privacy import epsilon
from fedcrucible.engines.in_process import run_in_process
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.load import load
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.records.privacy import privacy_line
from fedcrucible_core.records.reader import read
from fedcrucible_core.records.schema import RoundRecord, RunSummary
from server_app.plan import Plan
from strategies import round_loop
from strategies.messages import InvalidReplyError


def run(**settings: Scalar) -> tuple[str, list[RoundRecord]]:
    summary, rounds = play(**settings)
    return summary.parameters_sha256, rounds


def play(**settings: Scalar) -> tuple[RunSummary, list[RoundRecord]]:
    merged: dict[str, Scalar] = {
        "strategy": "dp",
        "run.rounds": 3,
        "federation.clients": 10,
        "federation.fraction_train": 0.4,
        "task.train_samples": 200,
        "task.test_samples": 60,
        "partition.name": "iid",
        "model.resnet8.width": 4,
        "adversary.malicious_fraction": 0.0,
        "output.report": False,
        **{key.replace("__", "."): value for key, value in settings.items()},
    }
    summary = run_in_process(Plan.make(load(merged)))
    return summary, list(read(Path(summary.folder)).rounds)


def test_rounds_are_accounted_with_the_share_that_is_sampled(runs_folder: Path) -> None:
    _, rounds = run()
    for number, record in enumerate(rounds[1:], 1):
        assert record.facts["rule.sampling_rate"] == pytest.approx(0.4)
        assert record.facts["rule.denominator"] == pytest.approx(4.0)
        assert record.facts["rule.epsilon"] == pytest.approx(epsilon(0.4, 1.0, number, 10**-1.1))


def test_a_reply_that_is_dropped_changes_no_denominator(runs_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_reply = round_loop.read_reply  # type: ignore[attr-defined]
    dropped: list[int] = []

    def refuse_one(answer: Any, partition: int, *rest: Any) -> Any:
        if not dropped:
            dropped.append(partition)
            raise InvalidReplyError("for this test")
        return read_reply(answer, partition, *rest)

    monkeypatch.setattr(round_loop, "read_reply", refuse_one)
    _, rounds = run(run__rounds=1)
    assert len(rounds[1].weights) == 3
    assert rounds[1].facts["rule.denominator"] == pytest.approx(4.0)
    assert rounds[1].facts["rule.sampling_rate"] == pytest.approx(0.4)


def test_a_restart_forgets_no_round(runs_folder: Path) -> None:
    whole, _ = run()
    run(run__rounds=2, run__checkpoint_every=1, output__name="cut")
    resumed, rounds = run(run__checkpoint_every=1, output__name="cut", run__resume=True)
    assert resumed == whole
    assert rounds[-1].facts["rule.epsilon"] == pytest.approx(epsilon(0.4, 1.0, 3, 10**-1.1))


def test_the_summary_says_what_was_spent_and_of_what(runs_folder: Path) -> None:
    summary, _ = play(run__rounds=2)
    stored = json.loads((Path(summary.folder) / "summary.json").read_text("utf-8"))
    assert stored["epsilon"] == summary.epsilon == pytest.approx(epsilon(0.4, 1.0, 2, 10**-1.1))
    assert stored["delta"] == summary.delta == pytest.approx(10**-1.1)
    assert stored["private_rounds"] == 2
    assert "one client" in stored["privacy"]
    assert "batch-norm statistics" in stored["privacy"]
    assert privacy_line(summary).startswith(
        f"differential privacy: epsilon {summary.epsilon:.3g} at delta 0.079 after 2"
    )


def test_a_round_that_keeps_the_model_spends_nothing(runs_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_reply, seen = round_loop.read_reply, [0]  # type: ignore[attr-defined]

    def refuse_second_round(*arguments: Any) -> Any:
        seen[0] += 1
        if 4 < seen[0] <= 8:
            raise InvalidReplyError("for this test")
        return read_reply(*arguments)

    monkeypatch.setattr(round_loop, "read_reply", refuse_second_round)
    summary, rounds = play()
    assert [len(record.weights) for record in rounds] == [0, 4, 0, 4]
    assert summary.private_rounds == 2
    assert summary.epsilon == pytest.approx(epsilon(0.4, 1.0, 2, 10**-1.1))


def test_a_resumed_run_has_spent_what_the_whole_one_has(runs_folder: Path) -> None:
    whole, _ = play()
    play(run__rounds=2, run__checkpoint_every=1, output__name="cut")
    resumed, _ = play(run__checkpoint_every=1, output__name="cut", run__resume=True)
    assert (resumed.epsilon, resumed.delta, resumed.private_rounds) == (whole.epsilon, whole.delta, 3)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"defense__dp__noise": 0.0}, "without noise epsilon is infinite"),
        ({"strategy": "weak-dp"}, "no epsilon is stated"),
        ({"strategy": "fedavg"}, ""),
    ],
)
def test_where_nothing_is_promised_there_is_no_epsilon(
    settings: dict[str, Scalar], words: str, runs_folder: Path
) -> None:
    summary, _ = play(run__rounds=1, **settings)
    stored = json.loads((Path(summary.folder) / "summary.json").read_text("utf-8"))
    assert stored["epsilon"] is None
    assert stored["delta"] is None
    assert words in privacy_line(summary)
    assert bool(privacy_line(summary)) == bool(words)


def test_more_attackers_than_a_rule_tolerates_are_refused_before_any_client_starts(runs_folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"defense\.krum\.f = 1: at most 0 with 4 clients a round"):
        run(strategy="krum", defense__krum__f=1)
    assert not runs_folder.exists()
