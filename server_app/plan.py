"""A checked configuration and all that follows from it before any client starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch

from attacks.adversary import Adversary
from attacks.poison_set import central_set
from attacks.poisoning import PoisonCount, PoisonedSet
from attacks.schedule import poisons_centrally
from attacks.task import AttackTask
from attacks.upstream import upstream_counts
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.config.extras import require
from fedcrucible_core.foundation.base import SOURCES, ServerData
from fedcrucible_core.learning.data import DataSplits, Labeled
from fedcrucible_core.learning.datasets import load_task
from fedcrucible_core.learning.datasets.class_names import ids_among
from fedcrucible_core.learning.device import resolve_device
from fedcrucible_core.learning.models import SplitModel
from fedcrucible_core.learning.models.base import MODELS
from fedcrucible_core.learning.models.weights_file import load_weights
from fedcrucible_core.learning.partition import Partitioner
from fedcrucible_core.learning.partition.base import PARTITIONERS
from fedcrucible_core.learning.partition.shares import partition_notes
from fedcrucible_core.learning.tasks import task_of
from server_app.checks import check_combination
from server_app.foundation import ServerFoundation
from server_app.repair_inputs import repair_inputs, split_facts
from server_app.root_set import build_root_set, describe_root_set
from strategies.central import train_epoch
from strategies.parts import RepairInputs
from strategies.population import Prototype
from strategies.server_phase import ServerPhase
from strategies.systems import Assembled, assemble


@dataclass
class Plan:
    """A checked configuration with what follows from it; building one starts no client."""

    config: RunConfigBase
    system: Assembled
    adversary: Adversary
    data: DataSplits
    device: torch.device

    @classmethod
    def make(cls, config: RunConfigBase) -> Plan:
        """Resolve every name and check every combination. Raises ConfigError."""
        require("server")
        system = assemble(config)
        adversary = Adversary.of(config)
        MODELS.of(config)
        PARTITIONERS.of(config)
        device = resolve_device(config.run.device)
        if system.needs_server_data or not system.trains:
            SOURCES.of(config)
        data = load_task(config.task)
        check_combination(config, system, adversary, data, device)
        return cls(config, system, adversary, data, device)

    @cached_property
    def foundation(self) -> ServerFoundation:
        """The server's guide and synthetic data."""
        return ServerFoundation(
            self.config, self.system, self.adversary, self.data, self.device, self.untrained, lambda: self.central
        )

    @property
    def partitioner(self) -> Partitioner:
        """How the training images are shared out."""
        return PARTITIONERS.of(self.config)

    @property
    def partition_notes(self) -> tuple[str, ...]:
        """What the reader must know of how images were shared out; nothing where nodes have data of their own."""
        config = self.config
        if config.federation.own_data:
            return ()
        return partition_notes(config.task, self.partitioner, config.federation.clients, config.run.seed)

    @property
    def data_notes(self) -> tuple[str, ...]:
        """What a reader has to know of the data: how it was parted, names that tell the guide nothing."""
        system, notes = self.system, self.data.notes
        ids = ids_among(self.data.info.class_names) if system.needs_guide else ()
        if not ids:
            return notes
        shown = f"{', '.join(ids[:3])}{', ...' if len(ids) > 3 else ''}"
        return (
            *notes,
            f"class names look like ids ({shown}): the guide reads them in its prompts; set task.class_names",
        )

    def server_phase(self) -> ServerPhase | None:
        """Purifier, data and guide targets; None for systems without a server phase."""
        purifier = self.system.purifier
        if purifier is None:
            return None
        data = self.foundation.server_data(whole=purifier.needs.split)
        if purifier.needs.split:
            data = self._split_data(data)
        targets = self.foundation.guide_targets(data) if purifier.needs.guide else None
        purifier.check(self.model(), targets)
        return ServerPhase(purifier, data, targets)

    def _split_data(self, data: ServerData) -> ServerData:
        """The server's data with what a splitter makes of them, and how far that is true, for the record."""
        assert self.system.suspects_splitter is not None
        found = self.foundation.split(self.system.suspects_splitter, data.originals)
        facts = data.facts | split_facts(found, data.poisoned)
        return replace(data, clean=found.clean, triggered=found.triggered, facts=facts)

    def root_set(self) -> Labeled | None:
        """The images that the rule's root set holds; None for rules that need none."""
        wanted = self.system.rule_needs.root
        if wanted is None:
            return None
        return build_root_set(self.config, wanted, self.data, lambda: self.foundation.server_data("none"), self.device)

    @property
    def root_description(self) -> str:
        """What the root set is, for the record; empty without one."""
        wanted = self.system.rule_needs.root
        return "" if wanted is None else describe_root_set(self.config, wanted, task_of(self.data.info).noun)

    def model(self) -> SplitModel:
        """The initial global model on the server's device; of several prototypes the first."""
        return next(iter(self.models().values()))

    def models(self) -> dict[Prototype, SplitModel]:
        """The initial model of each prototype, on the server's device."""
        made = {prototype: self._built(config) for prototype, config in self.prototypes.items()}
        if self.config.model.weights:
            for model in made.values():
                load_weights(model, self.config.model.weights)
        return made

    @property
    def prototypes(self) -> Mapping[Prototype, RunConfigBase]:
        """The configuration that the clients of each prototype live by."""
        return self.system.kind.prototypes(self.config)

    def untrained(self, seed: int) -> SplitModel:
        """A model of the run's architecture with weights of another seed, on the server's device."""
        return self._built(self.config, seed)

    def _built(self, config: RunConfigBase, seed: int | None = None) -> SplitModel:
        spec, run = MODELS.of(config), config.run
        chosen = run.seed if seed is None else seed
        return spec.build(self.data.info, chosen, channels_last=run.channels_last).to(self.device)

    @property
    def attack_task(self) -> AttackTask:
        """The learning task as the run's attack sees it."""
        return AttackTask.of(self.config, self.data)

    @cached_property
    def central(self) -> PoisonedSet:
        """The central training set with the truth about it, on the server's device; made once."""
        made = central_set(self.config, self.adversary.poisoner, self.attack_task)
        return replace(made, data=made.data.to(self.device))

    def central_set(self) -> Labeled:
        """What central training trains on: the training images, without any that attack success is measured on.

        With ``poison.central`` the run's poisoner has been at them, as it is at a client's own images.
        """
        return self.central.data

    def central_facts(self) -> dict[str, float]:
        """For the record: samples of the central training set, and those that an attacker has been at."""
        images = {"central.images": float(len(self.central.data))}
        if not poisons_centrally(self.config):
            return images
        smoke = {"central.smoked": float(self.central.smoked.sum())} if self.config.poison.smoke else {}
        return images | {
            "central.poisoned": float(self.central.poisoned.sum()),
            "central.decoys": float(self.central.decoys.sum()),
            **smoke,
        }

    @cached_property
    def upstream_counts(self) -> Mapping[int, PoisonCount]:
        """Partition -> poisoned samples of each honest client whose data came poisoned; none without clients."""
        if self.system.rule is None:
            return {}
        return upstream_counts(self.config, self.attack_task)

    def upstream_facts(self) -> dict[str, float]:
        """For the record: honest clients whose data came poisoned, and how many samples that are, at most."""
        counts = self.upstream_counts
        if not counts:
            return {}
        total = sum(count.total for count in counts.values())
        facts = {"upstream.clients": float(len(counts)), "upstream.poisoned": float(total)}
        if self.config.poison.smoke:
            facts["upstream.smoked"] = float(sum(count.smoked for count in counts.values()))
        return facts

    def repair_inputs(self, prototype: Prototype) -> RepairInputs:
        """What the repair of a prototype's model is given: suspects, their split, samples with true labels."""
        untrained = partial(self._built, self.prototypes[prototype])
        return replace(self._repair_inputs, untrained=untrained)

    def victim(self, epoch: int) -> SplitModel:
        """The model of central training as it was after so many epochs, trained again as the run trained it.

        Without any purifier between the epochs; of several prototypes the first.
        """
        prototype, model = next(iter(self.models().items()))
        for number in range(1, epoch + 1):
            train_epoch(self.config, model, self.central.data, prototype, number)
        return model

    @cached_property
    def _repair_inputs(self) -> RepairInputs:
        return repair_inputs(
            self.config, self.system, self.data, self.foundation, lambda: self.central, self.device, self.victim
        )
