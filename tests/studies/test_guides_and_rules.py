"""The studies of guides and of sanitizers' rules run, and use no seed of a reported run."""

from __future__ import annotations

import pytest

from defenses.base import SPLITTERS
from studies import guides, sanitizer_rules


def test_every_candidate_is_a_splitter() -> None:
    for name, parameters in sanitizer_rules.CANDIDATES.values():
        assert SPLITTERS[name].model_validate(parameters).name == name


def test_survivors_and_losses_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {**sanitizer_rules.DATA["mixed"], "synthetic.per_class": 10}
    found = sanitizer_rules.table(settings, 0.2, [101], ["guide-agreement", "random"])
    (agreement,), (chance,) = found["guide-agreement"], found["random"]
    assert agreement.poisoned == chance.poisoned == 18
    assert agreement.survivors < 5 < chance.survivors
    assert 0.0 <= agreement.dropped < 40.0


def test_seeds_of_choices_are_not_those_of_results(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[int]] = []

    def table(settings: object, ratio: float, seeds: list[int], labels: list[str]) -> dict[str, list[object]]:
        seen.append(seeds)
        return {}

    monkeypatch.setattr(sanitizer_rules, "table", table)
    monkeypatch.setattr("sys.argv", ["sanitizer_rules"])
    sanitizer_rules.main()
    assert seen
    assert min(min(seeds) for seeds in seen) > 100


def test_the_columns_of_the_table_of_guides() -> None:
    assert list(guides.KINDS) == ["names", "templates", "prompts", "prompts, centred"]
