"""Every attack goes through the round loop: nobody is dropped, and a seed decides everything."""

from __future__ import annotations

from pathlib import Path

import pytest

from attacks.adversary import ATTACKS, Adversary
from attacks.compromise import COMPROMISES
from attacks.poisoner import POISONERS
from fedcrucible.engines.in_process import run_in_process
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.load import load
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.records.reader import read
from fedcrucible_core.records.schema import RoundRecord, RunSummary
from server_app.plan import Plan
from tests.support.quick_attacks import COLOUR_ALONE, quick_keys

TINY: dict[str, Scalar] = {
    "strategy": "fedavg",
    "run.rounds": 2,
    "run.device": "cpu",
    "federation.clients": 5,
    "task.train_samples": 300,
    "task.test_samples": 400,
    "partition.name": "iid",
    "model.resnet8.width": 4,
    "adversary.malicious_fraction": 0.4,
    **{f"attack.{name}.patience": 4 for name in ("lp", "lf", "lp-adaptive")},
    **{f"attack.{name}.least": 0.0 for name in ("lp", "lf", "lp-adaptive")},
    **{f"attack.{name}.refresh": 1 for name in ("lp", "lf", "lp-adaptive")},
    "output.report": False,
    "output.save_model": False,
}


def run(**settings: Scalar) -> tuple[RunSummary, list[RoundRecord]]:
    merged = {**TINY, **{key.replace("__", "."): value for key, value in settings.items()}}
    summary = run_in_process(Plan.make(load(merged)))
    return summary, list(read(Path(summary.folder)).rounds)


CLIENTS = [n for n in ATTACKS if n != "none" and n not in COMPROMISES and n not in COLOUR_ALONE]
TEXTS: dict[str, Scalar] = {
    "task__dataset": "wn4", "model__name": "distilbert-tiny", "training__optimiser": "adamw", "training__lr": 0.001,
}  # fmt: skip


@pytest.mark.parametrize("name", CLIENTS)
def test_nobody_is_dropped_and_the_attack_changes_the_model(name: str, runs_folder: Path) -> None:
    more = TEXTS if name in POISONERS and POISONERS[name].task == "text" else quick_keys(name)
    summary, rounds = run(**more, attack__name=name)
    assert all(not r.dropped for r in rounds)
    assert [r.attack_active for r in rounds] == [False, True, True]
    assert (summary.asr_percent is not None) == Adversary.of(load({"attack.name": name})).poisoner.targeted
    honest, _ = run(**more, attack__name=name, adversary__malicious_fraction=0.0)
    assert honest.parameters_sha256 != summary.parameters_sha256


@pytest.mark.parametrize("name", ["lp", "lp-adaptive", "neurotoxin", "min-max", "gaussian"])
def test_two_runs_of_one_seed_agree(name: str, runs_folder: Path) -> None:
    settings: dict[str, Scalar] = {"attack__neurotoxin__reference": "last-update", "attack__name": name}
    first, _ = run(**settings)
    between, _ = run(**{**settings, "run__seed": 2})
    second, _ = run(**settings)
    assert first.parameters_sha256 == second.parameters_sha256 != between.parameters_sha256


@pytest.mark.parametrize(
    ("name", "trigger"), [("pgd", "edge-case"), ("lp", "edge-case"), ("lp", "dba"), ("lp-adaptive", "semantic")]
)
def test_an_upload_attack_plants_any_trigger(name: str, trigger: str, runs_folder: Path) -> None:
    summary, rounds = run(**{"attack__name": name, "attack__trigger": trigger})
    assert all(not r.dropped for r in rounds)
    assert summary.asr_percent is not None
    assert (rounds[-1].base_rate_percent is None) == POISONERS.create(trigger).natural


def test_alone_and_together_are_different_attacks(runs_folder: Path) -> None:
    together, _ = run(attack__name="alie", attack__alie__z_max=1.0)
    alone, _ = run(attack__name="alie", attack__alie__z_max=1.0, adversary__collusion="alone")
    assert together.parameters_sha256 != alone.parameters_sha256
    honest, _ = run(attack__name="alie", adversary__malicious_fraction=0.0)
    assert alone.parameters_sha256 == honest.parameters_sha256, "a lone attacker knows no deviation"


def test_the_attackers_own_training_settings_count(runs_folder: Path) -> None:
    plain, _ = run()
    slower, _ = run(adversary__lr=0.01)
    longer, _ = run(adversary__local_epochs=2)
    same, _ = run(adversary__lr=0.1, adversary__local_epochs=1)
    assert same.parameters_sha256 == plain.parameters_sha256
    assert len({plain.parameters_sha256, slower.parameters_sha256, longer.parameters_sha256}) == 3


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"attack.name": "afa", "attack.afa.layers": "nowhere"}, "attack.afa.layers"),
        ({"attack.name": "lp", "attack.trigger": "lf"}, "attack.trigger"),
        ({"attack.name": "lp-adaptive", "attack.lp-adaptive.simulate": "kru"}, "attack.lp-adaptive.simulate"),
    ],
)
def test_impossible_settings_are_refused_before_any_client_starts(settings: dict[str, Scalar], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Plan.make(load({**TINY, **settings}))
    assert caught.value.key == key
