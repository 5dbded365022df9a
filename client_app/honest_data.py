"""What an honest client trains on: its own samples, perhaps poisoned before they came to it, perhaps sanitized."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from flwr.app import Array, ArrayRecord, RecordDict
from torch import Tensor

from attacks.upstream import upstream_partitions, upstream_set
from client_app.local_data import attack_task, clean_data, data_info, remembered
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.learning.data import DataInfo, Labeled
from strategies.sanitizer_facts import SECONDS

if TYPE_CHECKING:
    from strategies.client_sanitizing import Sanitized

SANITIZER = "sanitizer"
"""Name of the record in ``context.state``: the split is made once per client and run, whoever computes its rounds."""


@dataclass(frozen=True)
class Honest:
    """Samples to train on."""

    data: Labeled
    """Inputs as a model takes them, on the training device."""
    sanitized: Mapping[str, float] = field(default_factory=dict)
    """What the sanitizer did, for the record: counts, and seconds where it worked just now; empty without one."""


def honest_data(
    config: RunConfigBase,
    partition: int,
    device: torch.device,
    state: RecordDict,
    *,
    own: DataInfo | None = None,
    info: DataInfo | None = None,
    by_seed: bool = True,
) -> Honest:
    """The samples of an honest client.

    Args:
        config: the run's.
        partition: whose.
        device: where they shall lie.
        state: what the node keeps between messages; the sanitizer's work is kept there.
        own: the server's facts of the task where the node's images are its own.
        info: those facts wherever they are told; class names for the guide.
        by_seed: whether the seed says what the node is.  A node that says so itself holds what it holds: no run
            configuration poisons it.
    """
    data, poisoned = _supplied(config, partition, device, own, by_seed)
    if config.client.sanitizer == "none":
        return Honest(data)
    from strategies.client_sanitizing import sanitize  # loads defences and a guide: only where asked

    start, known, seconds = time.perf_counter(), _read(state), dict[str, float]()
    if known is None:
        known = sanitize(config, partition, data, info or data_info(config, own), device)
        if known is None:
            return Honest(data)
        _write(state, known)
        seconds = {SECONDS: time.perf_counter() - start}
    return Honest(known.of(data), known.counts(poisoned, data.labels) | seconds)


def _supplied(
    config: RunConfigBase, partition: int, device: torch.device, own: DataInfo | None, by_seed: bool
) -> tuple[Labeled, Tensor | None]:
    """The samples as they came, and the truth about them where it is known, bool ``[n]``: some are poisoned."""
    simulated = own is None and by_seed
    poisoned_ones = upstream_partitions(config) if simulated else ()
    if partition not in poisoned_ones:
        data = clean_data(config, partition, device, own)
        return data, torch.zeros(len(data), dtype=torch.bool) if poisoned_ones else None
    key = ("upstream", config.task, config.partition, config.attack, config.poison, config.federation.clients,
           config.run.seed, partition, config.run.threads, str(device))  # fmt: skip
    made = remembered(key, lambda: upstream_set(config, partition, attack_task(config)))
    return made.data.to(device), made.poisoned


def _read(state: RecordDict) -> Sanitized | None:
    record = state.get(SANITIZER)
    if not isinstance(record, ArrayRecord):
        return None
    from strategies.client_sanitizing import Sanitized

    fates, labels = (torch.from_numpy(record[name].numpy().copy()).to(torch.int64) for name in ("fates", "labels"))
    return Sanitized(fates, labels)


def _write(state: RecordDict, known: Sanitized) -> None:
    arrays = {"fates": known.fates.to(torch.uint8), "labels": known.labels.to(torch.int32)}
    state[SANITIZER] = ArrayRecord({name: Array(value.numpy()) for name, value in arrays.items()})
