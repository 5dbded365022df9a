"""Every poisoner in every mode at every place: it poisons as it promises, or it is refused before anything starts."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch

from attacks.adversary import ATTACKS
from attacks.own_rows import own_rows
from attacks.poisoner import POISONERS
from attacks.poisoning import PoisonedSet
from attacks.uploader import UPLOADERS
from attacks.upstream import upstream_set
from client_app.local_data import attack_task, attacker_context
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.load import load
from server_app.plan import Plan
from tests.support.quick_attacks import COLOUR_ALONE, quick_keys
from tests.support.tiny_runs import Scalar, settings

MODES = ("replace", "append-all")
LABEL_ONLY = {"flip", "gcb-direction", "gcb-cinfogan", "label-flip", "semantic"}
CHOOSE_THEIR_SAMPLES = {"flip", "gcb-direction", "gcb-cinfogan"}
PLACES: Mapping[str, Mapping[str, Scalar]] = {
    "attackers": {"adversary__malicious_ids": "1"},
    "central": {"strategy": "central", "poison__central": True},
    "upstream": {"adversary__malicious_fraction": 0.0, "poison__upstream": "1"},
}
TEXTS: Mapping[str, Scalar] = {"task__dataset": "wn4", "model__name": "distilbert-tiny"}


def plan(name: str, mode: str, place: str) -> Plan:
    texts = TEXTS if POISONERS[name].task == "text" else {}
    wanted = settings(
        **quick_keys(name), **texts, **PLACES[place], attack__name=name, poison__mode=mode, task__test_samples=300
    )
    return Plan.make(load(wanted))


def made(found: Plan, place: str) -> PoisonedSet:
    config = found.config
    if place == "central":
        return found.central
    if place == "upstream":
        return upstream_set(config, 1, attack_task(config))
    context = attacker_context(config, found.adversary.poisoner, 0, torch.Generator().manual_seed(1))
    return found.adversary.poisoner.poison(context.task.train.subset(own_rows(config, 1)), context)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", sorted(set(POISONERS) - {"none"}))
def test_it_poisons_or_is_refused(name: str, mode: str, place: str) -> None:
    if name in COLOUR_ALONE:
        with pytest.raises(ConfigError, match="colour"):
            plan(name, mode, place)
        return
    if mode == "append-all" and name in LABEL_ONLY:
        with pytest.raises(ConfigError, match=r"poison\.mode.*changes labels and no input.*allowed: replace"):
            plan(name, mode, place)
        return
    found = made(plan(name, mode, place), place)
    assert found.poisoned.any()
    if mode == "replace":
        return
    clean = found.data.subset((~found.poisoned & ~found.decoys).nonzero().flatten())
    for x, y in zip(found.data.inputs[found.poisoned], found.data.labels[found.poisoned], strict=True):
        assert not bool((clean.labels[(clean.inputs == x).flatten(1).all(1)] != y).any()), "it stands there clean too"


def test_the_table_names_all_that_change_labels_alone_or_choose() -> None:
    every = {name: POISONERS.create(name) for name in POISONERS}
    assert {name for name, poisoner in every.items() if poisoner.label_only} == LABEL_ONLY
    assert {name for name, poisoner in every.items() if poisoner.ranks} == CHOOSE_THEIR_SAMPLES


@pytest.mark.parametrize("trigger", sorted(CHOOSE_THEIR_SAMPLES))
@pytest.mark.parametrize("name", ["lp", "lf", "lp-adaptive", "bd-fl", "bd-fmfl"])
def test_nobody_else_chooses_for_an_attack_that_ranks_its_samples(name: str, trigger: str) -> None:
    strategy = {"strategy": "fine-tune"} if name == "bd-fmfl" else {}
    with pytest.raises(ConfigError, match=r"attack\.trigger.*that it chooses itself.*allowed: .*badnets"):
        Plan.make(load(settings(**quick_keys(trigger), **strategy, attack__name=name, attack__trigger=trigger)))


@pytest.mark.parametrize("trigger", sorted(CHOOSE_THEIR_SAMPLES))
def test_where_nothing_is_planted_or_copied_it_may_be_measured(trigger: str) -> None:
    for name in ("af-fl", "pgd"):
        Plan.make(load(settings(**quick_keys(trigger), attack__name=name, attack__trigger=trigger)))


@pytest.mark.parametrize("name", sorted(name for name in UPLOADERS if not UPLOADERS[name].plants))
def test_who_poisons_no_data_supplies_none(name: str) -> None:
    with pytest.raises(ConfigError, match=r"attack\.name.*poisons no data"):
        Plan.make(load(settings(**PLACES["upstream"], attack__name=name)))
    with pytest.raises(ConfigError, match=r"attack\.trigger.*poisons no data"):
        Plan.make(load(settings(**PLACES["upstream"], attack__name="pgd", attack__trigger="none")))


@pytest.mark.parametrize("name", sorted(set(ATTACKS) - set(POISONERS)))
def test_only_what_poisons_data_does_so_centrally(name: str) -> None:
    with pytest.raises(ConfigError, match="no attack on data alone"):
        Plan.make(load(settings(**PLACES["central"], attack__name=name)))
