"""Who attacks and when."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from attacks.compromise import COMPROMISES
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.learning.rng import numpy_generator


def has_attack(config: RunConfigBase) -> bool:
    """Whether a run has an attack at all; ``attack.name = none`` has none, whoever is listed as malicious."""
    return config.attack.name != "none"


def attackers_are_clients(config: RunConfigBase) -> bool:
    """Whether the attack is one of clients: there is one, and it isn't on the server's synthetic data alone."""
    return has_attack(config) and config.attack.name not in COMPROMISES


def poisons_centrally(config: RunConfigBase) -> bool:
    """Whether the attack is on the training set of central training, of which no client is part."""
    return config.poison.central and has_attack(config)


def is_attack_round(config: RunConfigBase, round: int) -> bool:
    """Whether malicious clients attack in this round (1, 2, ...); in other rounds they train honestly."""
    section = config.adversary
    if not attackers_are_clients(config) or round < section.start_round:
        return False
    if section.stop_round and round > section.stop_round:
        return False
    return (round - section.start_round) % section.every == 0


def malicious_partitions(config: RunConfigBase) -> tuple[int, ...]:
    """Ascending partitions (0..clients-1) of the malicious clients; empty where the attack has none.

    Either those that ``adversary.malicious_ids`` lists, or floor(malicious_fraction * clients) drawn by the run's seed
    alone: for one seed a larger fraction's attackers include a smaller one's, and neither attack nor defence changes
    them.

    Raises:
        ConfigError: ``malicious_ids`` holds something that is not a partition, or one of them twice.
    """
    if not attackers_are_clients(config):
        return ()
    section, clients = config.adversary, config.federation.clients
    if section.malicious_ids.strip():
        return listed_partitions("adversary.malicious_ids", section.malicious_ids, clients)
    count = math.floor(section.malicious_fraction * clients + 1e-9)  # 1e-9: 0.29 * 100 is 28.999999999999996
    return _drawn(config.run.seed, clients, count)


@lru_cache(maxsize=4)
def _drawn(seed: int, clients: int, count: int) -> tuple[int, ...]:
    """Kept: every client asks, and of many clients the draw takes longer than their training."""
    return tuple(np.sort(numpy_generator(seed, "malicious").permutation(clients)[:count]).tolist())


def listed_partitions(key: str, text: str, clients: int) -> tuple[int, ...]:
    """The partitions that ``text``, the value of ``key``, lists by commas, ascending.

    Raises:
        ConfigError: it holds something that is not a partition, or one of them twice.
    """
    ids: list[int] = []
    for part in text.split(","):
        stripped = part.strip()
        if not (stripped.isascii() and stripped.isdigit()) or int(stripped) >= clients:
            allowed = f"{stripped!r} is no partition; allowed: comma-separated numbers 0 to {clients - 1}"
            raise ConfigError(key, text, allowed)
        if int(stripped) in ids:
            raise ConfigError(key, text, f"{stripped} is listed twice")
        ids.append(int(stripped))
    return tuple(sorted(ids))
