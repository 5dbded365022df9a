"""Who takes part in a round, and how many attackers are assumed among them: from settings and seed alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.config.sections import FederationSection
from fedcrucible_core.learning.rng import numpy_generator


def sample(
    partitions: Sequence[int] | NDArray[np.int64], config: RunConfigBase, round: int, malicious: frozenset[int]
) -> list[int]:
    """The participants of a round out of ``partitions`` (ascending), ascending; drawn from (seed, round) alone.

    ``adversary.participation = exact`` draws floor(malicious_fraction x n) of the ``malicious`` every round, as the
    layer-poisoning code does.
    """
    count = min(len(partitions), participants_per_round(config.federation))
    rng = numpy_generator(config.run.seed, "sample", round)
    order = np.asarray(partitions)[rng.permutation(len(partitions))]
    if config.adversary.participation == "exact":
        wanted = exact_attackers(config.adversary.malicious_fraction, count)
        attacks = np.isin(order, np.fromiter(malicious, np.int64))
        bad = order[attacks][:wanted]
        order = np.concatenate([bad, order[~attacks][: count - len(bad)]])
    return sorted(order[:count].tolist())


def exact_attackers(fraction: float, participants: int) -> int:
    """Attackers among so many participants where ``adversary.participation`` is exact: their share, rounded down."""
    return math.floor(fraction * participants + 1e-9)  # 1e-9: 0.58 * 50 is 28.999999999999996


def participants_per_round(settings: FederationSection, excluded: int = 0) -> int:
    """Clients sampled each round: the stated share of all, halves up, at least one; of those that aren't excluded."""
    return min(settings.clients - excluded, max(1, int(settings.fraction_train * settings.clients + 0.5)))


def assumed_malicious(config: RunConfigBase, malicious: int, participants: int, excluded: int = 0) -> int:
    """Attackers a round that the server assumes: as configured, or the share of ``malicious`` clients, rounded up.

    ``excluded`` clients are neither among the malicious ones nor among the others.
    """
    assumed = config.defense.assumed_malicious
    return assumed if assumed >= 0 else math.ceil(malicious * participants / (config.federation.clients - excluded))
