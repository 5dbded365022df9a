"""A client's own images, as tensors prepared once per process."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor

from attacks.base import Attack, PoisonContext
from attacks.own_rows import own_rows
from attacks.poisoning import poison_dataset
from attacks.task import AttackTask
from config.compose import RunConfigBase
from config.sections import AttackSection
from learning.data import ClientData, DataInfo
from learning.datasets import load_task
from learning.rng import torch_generator


class _Cache:
    """The last prepared clients, bounded by bytes: a process serves many clients in turn."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.items: OrderedDict[object, ClientData] = OrderedDict()

    def get(self, key: object) -> ClientData | None:
        found = self.items.get(key)
        if found is not None:
            self.items.move_to_end(key)
        return found

    def put(self, key: object, data: ClientData) -> ClientData:
        self.items[key] = data
        while len(self.items) > 1 and sum(d.images.nbytes for d in self.items.values()) > self.limit:
            self.items.popitem(last=False)
        return data


_PREPARED = _Cache(limit=2 * 1024**3)


def data_info(config: RunConfigBase) -> DataInfo:
    """Facts of the configured data set."""
    return load_task(config.task).info


def clean_data(config: RunConfigBase, partition: int, device: torch.device) -> ClientData:
    """The client's clean images and labels, on the training device."""
    own = own_rows(config, partition)
    key = (config.task, own.numpy().tobytes(), str(device))
    found = _PREPARED.get(key)
    if found is not None:
        return found
    mine = load_task(config.task).train.subset(own)
    return _PREPARED.put(key, ClientData(mine.pixels().to(device), mine.labels.to(device)))


def poisoned_data(config: RunConfigBase, attack: Attack, partition: int, part: int, device: torch.device) -> ClientData:
    """The malicious client's training set: the same poisoned samples in every round."""
    key = (config.task, config.partition, config.attack, config.federation.clients, config.run.seed, partition, part,
           str(device))  # fmt: skip
    found = _PREPARED.get(key)
    if found is not None:
        return found
    rng = torch_generator(config.run.seed, "poison", partition)
    data = poisoned_rows(config, attack, own_rows(config, partition), config.attack, part, rng)
    return _PREPARED.put(key, ClientData(data.images.to(device), data.labels.to(device)))


def poisoned_rows(
    config: RunConfigBase, attack: Attack, rows: Tensor, section: AttackSection, part: int, rng: torch.Generator
) -> ClientData:
    """Training images ``rows`` (int64) as an attacker that owns them poisons them, on the CPU."""
    context = PoisonContext(AttackTask.of(config, load_task(config.task)), part, rng)
    return ClientData(*poison_dataset(rows, attack, section, context))
