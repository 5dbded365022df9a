"""A synthetic source as an attacker leaves it: any source, and what is done to its answers or to its queries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from attacks.compromise import Compromise, Query
from attacks.poisoner import PoisonContext, Poisoner
from fedcrucible_core.foundation.base import Samples, Stage, SyntheticSource
from fedcrucible_core.learning.data import DataInfo

Sampling = Callable[[int, int], Samples]
"""Samples a class and seed to unaltered samples, from the cache when they were made before."""


@dataclass(frozen=True)
class CompromisedSource:
    """Wraps a source whose queries an attacker gets at."""

    source: SyntheticSource
    compromise: Compromise
    poisoner: Poisoner
    context: Callable[[], PoisonContext]
    """What the poisoner goes by; a generator of its own at every call, so that every stage gets the same."""
    sampling: Sampling
    guide: Callable[[torch.Tensor], torch.Tensor]
    """What the attacker's guide says of inputs."""
    device: torch.device

    def samples(self, info: DataInfo, per_class: int, seed: int, stage: Stage) -> Samples:
        """What the server gets for a stage: the unaltered samples where the attack doesn't reach it."""
        if not self.compromise.reaches(stage):
            return self.sampling(per_class, seed)
        source = self.source
        altered = partial(source.generate_altered, info, per_class, seed, self.device) if source.obeys else None
        query = Query(info, per_class, seed, self.poisoner, self.context(), self.sampling, self.guide, altered)
        return self.compromise.alter(query, stage)
