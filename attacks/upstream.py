"""Honest clients whose data came to them poisoned: ``poison.upstream``; no attacker is involved, and none counts."""

from __future__ import annotations

import torch

from attacks.adversary import Adversary
from attacks.own_rows import own_rows
from attacks.poisoner import PoisonContext
from attacks.poisoning import PoisonCount, PoisonedSet, poison_count
from attacks.preparation import run_artefact
from attacks.schedule import has_attack, listed_partitions, malicious_partitions
from attacks.task import AttackTask
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.learning.rng import torch_generator

KEY = "poison.upstream"


def upstream_partitions(config: RunConfigBase) -> tuple[int, ...]:
    """Ascending partitions of the honest clients whose data are poisoned; none where the run has no attack.

    Raises:
        ConfigError: ``poison.upstream`` holds something that is no partition, one of them twice, or a malicious one.
    """
    listed = config.poison.upstream
    if not listed.strip() or not has_attack(config):
        return ()
    found = listed_partitions(KEY, listed, config.federation.clients)
    both = sorted(set(found) & set(malicious_partitions(config)))
    if both:
        allowed = (
            f"partition {both[0]} is malicious by adversary.malicious_ids or malicious_fraction, these clients are "
            "honest; allowed: others, or adversary.malicious_fraction = 0"
        )
        raise ConfigError(KEY, listed, allowed)
    return found


def upstream_set(config: RunConfigBase, partition: int, task: AttackTask) -> PoisonedSet:
    """The training set of such a client with the truth about it, on the CPU: the same in every round and process.

    The run's poisoner is let at its share as the section ``poison`` says, with the whole trigger.
    """
    rng = torch_generator(config.run.seed, "poison", partition)
    poisoner = Adversary.of(config).poisoner
    context = PoisonContext(task, config.poison, rng, run_artefact(config, poisoner, task))
    return poisoner.poison(task.train.subset(own_rows(config, partition)), context)


def upstream_counts(config: RunConfigBase, task: AttackTask) -> dict[int, PoisonCount]:
    """How many samples of each such client are poisoned, at most; draws nothing."""
    partitions = upstream_partitions(config)
    if not partitions:
        return {}
    poisoner = Adversary.of(config).poisoner
    context = PoisonContext(task, config.poison, torch.Generator(), run_artefact(config, poisoner, task))
    return {p: poison_count(task.train.subset(own_rows(config, p)), poisoner, context) for p in partitions}
