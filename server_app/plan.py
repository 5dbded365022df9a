"""A checked configuration and all that follows from it before any client starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from attacks.base import ATTACKS, Attack
from defenses.support.root_set import RootedRule, RootSet
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.foundation.base import SOURCES, Guide, ServerData, SyntheticSource
from fedcrucible_core.foundation.frequency import FrequencyAugmentation
from fedcrucible_core.foundation.guide import load_guide
from fedcrucible_core.foundation.server_data import build_server_data
from fedcrucible_core.learning.data import DataSplits
from fedcrucible_core.learning.datasets import load_task
from fedcrucible_core.learning.datasets.class_names import ids_among
from fedcrucible_core.learning.device import resolve_device
from fedcrucible_core.learning.models import SplitModel
from fedcrucible_core.learning.models.base import MODELS
from fedcrucible_core.learning.partition import Partitioner
from fedcrucible_core.learning.partition.base import PARTITIONERS
from fedcrucible_core.learning.partition.shares import partition_notes
from server_app.checks import check_combination
from server_app.root_set import build_root_set, describe_root_set
from strategies.server_phase import ServerPhase
from strategies.systems import Assembled, assemble


@dataclass
class Plan:
    """A checked configuration with what follows from it; building one starts no client."""

    config: RunConfigBase
    system: Assembled
    attack: Attack
    data: DataSplits
    device: torch.device

    @classmethod
    def make(cls, config: RunConfigBase) -> Plan:
        """Resolve every name and check every combination. Raises ConfigError."""
        system = assemble(config)
        attack = ATTACKS.of(config)
        MODELS.of(config)
        PARTITIONERS.of(config)
        device = resolve_device(config.run.device)
        if system.needs_server_data or system.zero_shot:
            SOURCES.of(config)
        data = load_task(config.task)
        check_combination(config, system, attack, data, device)
        return cls(config, system, attack, data, device)

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
        guided = system.needs_guide or (system.needs_server_data and self.config.synthetic.guide_agreement)
        ids = ids_among(self.data.info.class_names) if guided else ()
        if not ids:
            return notes
        shown = f"{', '.join(ids[:3])}{', ...' if len(ids) > 3 else ''}"
        return (
            *notes,
            f"class names look like ids ({shown}): the guide reads them in its prompts; set task.class_names",
        )

    def guide(self) -> Guide:
        """The configured guide, loaded when first asked."""
        section = self.config.guide
        return load_guide(
            section.model,
            family=section.family,
            templates=section.templates,
            batch_size=section.batch_size,
            cache_dir=section.cache_dir,
            device=self.device,
        )

    def synthetic_source(self) -> SyntheticSource:
        """Where the server's images come from."""
        return SOURCES.of(self.config)

    def server_data(self, augment: Literal["frequency", "patch", "none"] | None = None) -> ServerData:
        """The server's synthetic images, from the cache or made now; ``augment`` replaces the configured one."""
        section = self.config.synthetic
        return build_server_data(
            self.synthetic_source(),
            self.data.info,
            section.per_class,
            self.config.run.seed,
            self.device,
            moment_match=section.moment_match,
            augment=augment or section.augment,
            frequency=FrequencyAugmentation.from_section(section),
            guide=self.guide() if section.guide_agreement else None,
            cache_dir=self.config.guide.cache_dir,
        )

    def server_phase(self) -> ServerPhase | None:
        """Purifier, data and guide targets; None for systems without a server phase."""
        purifier = self.system.purifier
        if purifier is None:
            return None
        data = self.server_data()
        targets = None
        if purifier.needs_guide:
            targets = self.guide().targets(data.training_set()[0], self.data.info.class_names)
        purifier.check(self.model(), targets)
        return ServerPhase(purifier, data, targets)

    def root_set(self) -> RootSet | None:
        """The images that a rooted rule trains on; None for other rules."""
        rule = self.rooted_rule
        if rule is None:
            return None
        return build_root_set(self.config, rule, self.data, lambda: self.server_data("none"), self.device)

    @property
    def rooted_rule(self) -> RootedRule | None:
        """The rule, where it needs a root set."""
        rule = self.system.rule
        return rule if self.system.uses_clients and isinstance(rule, RootedRule) else None

    @property
    def root_description(self) -> str:
        """What the root set is, for the record; empty without one."""
        return "" if self.rooted_rule is None else describe_root_set(self.config, self.rooted_rule)

    def model(self) -> SplitModel:
        """The initial global model on the server's device."""
        spec = MODELS.of(self.config)
        run = self.config.run
        return spec.build(self.data.info, run.seed, channels_last=run.channels_last).to(self.device)
