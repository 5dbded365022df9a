"""What an honest client does to its own data before it trains (``client.sanitizer``).

Poison that reaches honest clients with their data, and clients that look for it: the scenario of zhao2026protegofed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import torch
from torch import Tensor

from defenses.base import Split, Splitter
from defenses.sanitizing import FATES, NEEDS_CLASSES, sanitized
from defenses.splitting import split
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.config.extras import require
from fedcrucible_core.foundation.base import Guide, Samples
from fedcrucible_core.foundation.chat_settings import ChatSettings
from fedcrucible_core.foundation.guides import guide_of
from fedcrucible_core.foundation.public_slice import public_samples
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.datasets import load_task
from fedcrucible_core.learning.models.base import MODELS, SplitModel
from fedcrucible_core.learning.rng import torch_generator
from strategies.sanitizer_facts import COUNTS, TRUTH
from strategies.systems import assemble, prototype_config

DROPPED = FATES.index("dropped")


@dataclass(frozen=True)
class Sanitized:
    """What became of each of a client's n samples."""

    fates: Tensor
    """int64 ``[n]``, numbers of ``defenses.sanitizing.FATES``."""
    labels: Tensor
    """int64 ``[n]``: the class that each is used as."""

    def of(self, data: Labeled) -> Labeled:
        """The samples that are used. Raises ValueError where none is."""
        rows = (self.fates != DROPPED).nonzero().flatten()
        if not len(rows):
            raise ValueError(f"client.sanitizer leaves none of {len(data)} samples to train on")
        on = data.labels.device
        return Labeled(data.inputs[rows.to(on)], self.labels[rows].to(on))

    def counts(self, poisoned: Tensor | None, given: Tensor) -> dict[str, float]:
        """How many met which fate; with the truth (``poisoned`` bool ``[n]``) also whom it was right about.

        ``given`` int64 ``[n]`` are the labels that samples came with. Survivors are poisoned samples used under these.
        """
        found = {name: float((self.fates == FATES.index(name)).sum()) for name in COUNTS}
        if poisoned is None:
            return found
        flagged, dropped = self.fates != FATES.index("kept"), self.fates == DROPPED
        survivors = poisoned & ~dropped & (self.labels == given.cpu())
        masks = (poisoned, poisoned & flagged, survivors, ~poisoned & dropped)
        return found | {name: float(mask.sum()) for name, mask in zip(TRUTH, masks, strict=True)}


def sanitize(
    config: RunConfigBase, partition: int, data: Labeled, info: DataInfo, device: torch.device
) -> Sanitized | None:
    """Split a client's own samples by ``client.splitter`` and do to them what ``client.sanitizer`` says.

    Everything drawn follows from the run's seed and the partition.  None: this client sanitizes nothing.

    Args:
        config: the run's.
        partition: whose data.
        data: its samples with the labels as given, perhaps poisoned.
        info: the server's facts of the task; the guide is told its class names.
        device: where models are trained and the guide works.

    Raises:
        ConfigError: this installation lacks what a guide needs.
    """
    splitter = assemble(config).client_splitter
    if splitter is None:
        return None
    require("server")
    on_cpu = data.to("cpu")
    found = _split(config, splitter, partition, on_cpu, info, device)
    action = config.client.sanitizer
    asks = action in NEEDS_CLASSES and found.logits is None
    answers = _guide(config, info, device).targets(on_cpu.for_model(), info.class_names).logits.cpu() if asks else None
    made = sanitized(Samples(on_cpu, ()), found, action, answers)
    assert made.fates is not None
    labels = on_cpu.labels.clone()
    labels[made.fates != DROPPED] = made.data.labels
    return Sanitized(made.fates, labels)


def _split(
    config: RunConfigBase, splitter: Splitter, partition: int, data: Labeled, info: DataInfo, device: torch.device
) -> Split:
    own = prototype_config(config, partition)

    def untrained(seed: int) -> SplitModel:
        return MODELS.of(own).build(info, seed, channels_last=config.run.channels_last).to(device)

    return split(
        splitter, data, info, lambda: _guide(config, info, device),
        torch_generator(config.run.seed, "client-split", partition),
        untrained=untrained, public=lambda: public_samples(info, "client.splitter", splitter.name),
    )  # fmt: skip


@lru_cache(maxsize=1)
def _guide(config: RunConfigBase, info: DataInfo, device: torch.device) -> Guide:
    """The run's guide in this process; loaded when it is first asked."""
    return guide_of(
        config.guide, info, device, seed=config.run.seed, labelled=lambda: load_task(config.task).validation,
        chat=cast(ChatSettings, config.component("synthetic", "llm")),
    )  # fmt: skip
