"""Rivals of CGD in ordinary runs: what they need is provided, what can't be is refused before training."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.load import load
from server_app.plan import Plan
from tests.support.tiny_runs import play, settings

POISONED = {"strategy": "central", "poison__central": True, "poison__ratio": 0.2, "poison__share_of": "all"}


@pytest.mark.parametrize(
    ("repair", "others", "fact"),
    [
        ("ep", {}, "pruned"),
        ("fine-pruning", {"repair__fine-pruning__epochs": 1, "repair__fine-pruning__clean_samples": 20}, "pruned"),
        ("retrain", {"splitter__name": "random", "repair__retrain__epochs": 1}, "dropped"),
    ],
)
def test_a_run_has_its_rates_before_and_after(
    repair: str, others: dict[str, str | int], fact: str, runs_folder: Path
) -> None:
    summary, rounds = play(**POISONED, repair__name=repair, **others)
    last = rounds[-1]
    assert f"repair.{fact}" in last.facts
    assert "repair.ma_before_percent" in last.facts
    assert not [note for note in last.notes if "failed" in note]
    assert summary.parameters_sha256


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"repair__name": "anp", "model__name": "cnn"}, r"repair.name = 'anp'.*batch norm"),
        ({"repair__name": "ep", "model__name": "logistic"}, r"repair.name = 'ep'.*batch norm"),
        ({"repair__name": "asd", "repair__asd__clean_samples": 3}, r"repair.asd.clean_samples = 3"),
    ],
)
def test_what_cannot_work_is_refused_by_name(others: dict[str, str | int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Plan.make(load(settings(**POISONED, **others)))
