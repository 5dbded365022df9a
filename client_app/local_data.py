"""A client's own images, as tensors prepared once per process."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar, cast

import torch
from torch import Tensor

from attacks.own_rows import own_share
from attacks.poisoner import PoisonContext, Poisoner
from attacks.poisoning import PoisonedSet
from attacks.preparation import run_artefact
from attacks.task import AttackTask
from client_app.own_data import own_splits
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.learning.data import DataInfo, DataSplits, Labeled
from fedcrucible_core.learning.datasets import load_task
from fedcrucible_core.learning.partition.shares import ClientShare
from fedcrucible_core.learning.rng import torch_generator

T = TypeVar("T", Labeled, PoisonedSet)


class _Cache:
    """The last prepared clients, bounded by bytes: a process serves many clients in turn."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.items: OrderedDict[object, Labeled | PoisonedSet] = OrderedDict()

    def once(self, key: object, make: Callable[[], T]) -> T:
        """What ``make`` makes for a key, or made before."""
        if key not in self.items:
            self.items[key] = make()
            while len(self.items) > 1 and sum(_nbytes(d) for d in self.items.values()) > self.limit:
                self.items.popitem(last=False)
        self.items.move_to_end(key)
        return cast(T, self.items[key])


def _nbytes(kept: Labeled | PoisonedSet) -> int:
    return (kept if isinstance(kept, Labeled) else kept.data).inputs.nbytes


_PREPARED = _Cache(limit=2 * 1024**3)


def remembered(key: object, make: Callable[[], T]) -> T:
    """Samples that ``make`` prepares, or prepared for this key before in this process."""
    return _PREPARED.once(key, make)


def data_info(config: RunConfigBase, own: DataInfo | None = None) -> DataInfo:
    """Facts of the configured data set; the server's, where the node's images are its own."""
    return load_task(config.task).info if own is None else own


def local_splits(config: RunConfigBase, own: DataInfo | None = None) -> DataSplits:
    """The images that clients of this node are given: the run's, or the node's own, numbered as ``own`` says.

    ``own``, here and below, is the server's facts of the task where the node's images are its own; None: where they
    are a share of the run's data set.
    """
    return load_task(config.task) if own is None else own_splits(config.task, own)


def clean_data(config: RunConfigBase, partition: int, device: torch.device, own: DataInfo | None = None) -> Labeled:
    """The client's clean images and labels, on the training device."""
    rows = local_rows(config, partition, own)
    key = (config.task, own, rows.numpy().tobytes(), str(device))

    def prepared() -> Labeled:
        mine = local_splits(config, own).train.subset(rows)
        return Labeled(mine.for_model().to(device), mine.labels.to(device))

    return remembered(key, prepared)


def local_rows(config: RunConfigBase, partition: int, own: DataInfo | None = None) -> Tensor:
    """The client's rows (int64) of the training images; none that attack success is measured on.

    All but a test share where the images are the node's own: the server measures on none of them.
    """
    return local_share(config, partition, own).train


def local_share(config: RunConfigBase, partition: int, own: DataInfo | None = None) -> ClientShare:
    """The client's rows of the training images: those it trains on, and those of its own test."""
    if own is None:
        return own_share(config, partition)
    rows = torch.arange(len(own_splits(config.task, own).train))
    return ClientShare.of(rows, config.partition.test_fraction, config.run.seed, partition)


def poisoned_data(
    config: RunConfigBase,
    poisoner: Poisoner,
    partition: int,
    part: int,
    device: torch.device,
    own: DataInfo | None = None,
) -> Labeled:
    """The malicious client's training set: the same poisoned samples in every round."""
    key = (config.task, config.partition, config.attack, config.poison, config.federation.clients, config.run.seed,
           partition, part, config.run.threads, str(device), own)  # fmt: skip

    def prepared() -> Labeled:
        rng = torch_generator(config.run.seed, "poison", partition)
        rows = local_rows(config, partition, own)
        data = poisoned_rows(poisoner, rows, attacker_context(config, poisoner, part, rng, own))
        return Labeled(data.inputs.to(device), data.labels.to(device))

    return remembered(key, prepared)


def attack_task(config: RunConfigBase, own: DataInfo | None = None) -> AttackTask:
    """The task as an attacker on this node sees it."""
    return AttackTask.of(config, local_splits(config, own))


def attacker_context(
    config: RunConfigBase, poisoner: Poisoner, part: int, rng: torch.Generator, own: DataInfo | None = None
) -> PoisonContext:
    """What attacker number ``part`` goes by when it poisons its data."""
    task = attack_task(config, own)
    return PoisonContext(task, config.poison, rng, run_artefact(config, poisoner, task), part)


def poisoned_rows(poisoner: Poisoner, rows: Tensor, context: PoisonContext) -> Labeled:
    """Training images ``rows`` (int64) as an attacker that owns them poisons them, on the CPU."""
    return poisoner.poison(context.task.train.subset(rows), context).data
