"""Keys of defences that have moved: pruning was a rule, the guide's agreement a switch of the synthetic set."""

from __future__ import annotations

import warnings

import pytest

from fedcrucible_core.config.load import load
from fedcrucible_core.config.old_keys import OldKeyWarning, modern
from fedcrucible_core.config.values import Scalar


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"defense.pruning.share": 0.5}, {"repair.pruning.share": 0.5}),
        ({"defense.name": "pruning"}, {"defense.name": "fedavg", "repair.name": "pruning"}),
        (
            {"defense.name": "pruning", "repair.name": "none"},
            {"defense.name": "fedavg", "repair.name": "none"},
        ),
        (
            {"defense.name": "pruning", "defense.pruning.max_weight": 0.5, "defense.fedavg.max_weight": 1.0},
            {"defense.name": "fedavg", "repair.name": "pruning", "defense.fedavg.max_weight": 0.5},
        ),
        (
            {"strategy": "pruning", "defense.name": "auto", "defense.pruning.max_weight": 0.5},
            {"strategy": "pruning", "defense.name": "auto", "defense.fedavg.max_weight": 0.5},
        ),
        ({"strategy": "flame", "defense.pruning.max_weight": 0.5}, {"strategy": "flame"}),
        ({"synthetic.guide_agreement": True}, {"splitter.name": "guide-agreement"}),
        ({"synthetic.guide_agreement": "True"}, {"splitter.name": "guide-agreement"}),
        ({"synthetic.guide_agreement": False}, {"splitter.name": "none"}),
        ({"splitter.name": "guide-agreement", "synthetic.guide_agreement": False}, {"splitter.name": "none"}),
        ({"synthetic.guide_agreement": True, "splitter.name": "none"}, {"splitter.name": "none"}),
        ({"attack.lp-adaptive.simulate": "pruning"}, {"attack.lp-adaptive.simulate": "fedavg"}),
    ],
)
def test_old_settings_mean_what_they_meant(old: dict[str, Scalar], new: dict[str, Scalar]) -> None:
    found, used = modern(old)
    assert found == new
    assert used


def test_they_load_with_one_line() -> None:
    with pytest.warns(OldKeyWarning) as told:
        config = load({"defense.name": "pruning", "defense.pruning.trim": 0.1, "synthetic.guide_agreement": True})
    assert len(told) == 1
    assert (config.defense.name, config.repair.name, config.splitter.name) == ("fedavg", "pruning", "guide-agreement")


def test_today_s_settings_are_loaded_silently() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load({"strategy": "pruning", "repair.pruning.trim": 0.1, "splitter.name": "guide-agreement"})
