"""A system = who trains, which rule aggregates, what purifies and repairs; every rule is a system by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeVar

from defenses.base import (
    PURIFIERS,
    REPAIRS,
    RULES,
    SPLITTERS,
    AggregationRule,
    Needs,
    Purifier,
    Repair,
    Splitter,
)
from fedcrucible_core.config import Component, ConfigError, Registry
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.config.errors import did_you_mean

T = TypeVar("T", bound=Component)


class System(Component):
    """A named combination of rule, purifier and repair."""

    rule: ClassVar[str] = "fedavg"
    purifier: ClassVar[str] = "none"
    repair: ClassVar[str] = "none"
    uses_clients: ClassVar[bool] = True
    """False for controls that ask what the server could do alone."""
    zero_shot: ClassVar[bool] = False
    """True: nothing is trained, the guide itself is measured."""


SYSTEMS: Registry[System] = Registry("strategy", "strategies.systems", key="strategy")


@SYSTEMS.register("clip-fed")
class ClipFed(System):
    """CLIP-Fed: cluster filter, sample-weighted mean, CLIP-guided feature rectification and knowledge transfer."""

    paper = "Gai et al., CLIP-Fed; SPEC A"
    rule = "clip-fed-filter"
    purifier = "clip-guided"


@SYSTEMS.register("clip-fed-plus")
class ClipFedPlus(System):
    """Our stronger variant of CLIP-Fed: the aggregate itself teaches too, and random visible patches are unlearned."""

    paper = "this project; beside CLIP-Fed, never in its place"
    rule = "clip-fed-filter"
    purifier = "clip-guided-plus"


@SYSTEMS.register("fine-tune")
class FineTune(System):
    """Control: FedAvg, then plain cross-entropy fine-tuning on the server's data every round."""

    paper = "control"
    purifier = "fine-tune"


@SYSTEMS.register("server-data-only")
class ServerDataOnly(System):
    """Control: no client at all; the model is trained on the server's data alone, as many rounds."""

    paper = "control"
    purifier = "fine-tune"
    uses_clients = False


@SYSTEMS.register("guide-zero-shot")
class GuideZeroShot(System):
    """Control: nothing is trained; the guide classifies the test images by its class prompts."""

    paper = "control"
    uses_clients = False
    zero_shot = True


@SYSTEMS.register("pruning")
class Pruning(System):
    """Federated pruning: FedAvg; after the last round, channels that clients' clean data don't use are silenced."""

    paper = "Wu et al. 2020 (Mitigating backdoor attacks in federated learning); SPEC E.14, B.6"
    repair = "pruning"


@dataclass(frozen=True)
class Assembled:
    """A system with its components built from one configuration."""

    name: str
    rule: AggregationRule
    purifier: Purifier | None
    repair: Repair | None
    splitter: Splitter | None
    """What parts the server's synthetic images before they are used; only clean ones are kept."""
    uses_clients: bool
    zero_shot: bool

    @property
    def rule_needs(self) -> Needs:
        """What the rule asks for; nothing where no client takes part."""
        return self.rule.needs if self.uses_clients else Needs()

    @property
    def repair_needs(self) -> Needs:
        """What the repair asks for; nothing without one."""
        return self.repair.needs if self.repair is not None else Needs()

    @property
    def needs_guide(self) -> bool:
        """Whether the guide is asked anything during the run."""
        purifies = self.purifier is not None and self.purifier.needs.guide
        splits = self.splitter is not None and self.splitter.needs.guide and self.needs_server_data
        return self.zero_shot or purifies or splits or self.repair_needs.guide

    @property
    def needs_server_data(self) -> bool:
        """Whether the server's synthetic images are used: to purify, as a root set, or by a repair."""
        root, repair = self.rule_needs.root, self.repair_needs
        rooted = root is not None and root.kind == "synthetic"
        return self.purifier is not None or rooted or repair.server_images or repair.guide

    @property
    def knowledge(self) -> tuple[str, ...]:
        """What the parts need that a real server may not have."""
        rule = self.rule if self.uses_clients else None
        parts: tuple[Component | None, ...] = (rule, self.purifier, self.repair)
        return tuple(dict.fromkeys(item for part in parts if part is not None for item in part.knowledge))


def strategy_names() -> list[str]:
    """Every value that ``strategy`` accepts: composed systems and rules alone."""
    return sorted({*SYSTEMS, *RULES})


def assemble(config: RunConfigBase) -> Assembled:
    """Build the system a configuration names. Raises ConfigError for unknown names."""
    name = config.strategy
    if name in SYSTEMS:
        system = SYSTEMS[name]
        rule, purifier, repair = system.rule, system.purifier, system.repair
        uses_clients, zero_shot = system.uses_clients, system.zero_shot
    elif name in RULES:
        rule, purifier, repair, uses_clients, zero_shot = name, "none", "none", True, False
    else:
        names = strategy_names()
        raise ConfigError("strategy", name, f"{did_you_mean(name, names)}allowed: {', '.join(names)}")
    rule = rule if config.defense.name == "auto" else config.defense.name
    purifier = purifier if config.purifier.name == "auto" else config.purifier.name
    repair = repair if config.repair.name == "auto" else config.repair.name
    return Assembled(
        name,
        _built(config, RULES, rule, "auto"),
        None if purifier == "none" else _built(config, PURIFIERS, purifier, "auto", "none"),
        None if repair == "none" else _built(config, REPAIRS, repair, "auto", "none"),
        None if config.splitter.name == "none" else _built(config, SPLITTERS, config.splitter.name, "none"),
        uses_clients,
        zero_shot,
    )


def _built(config: RunConfigBase, registry: Registry[T], name: str, *words: str) -> T:
    """The component ``name``; ``words`` are what its key may say beside names of components."""
    if name not in registry:
        names = [*words, *registry]
        raise ConfigError(registry.key, name, f"{did_you_mean(name, names)}allowed: {', '.join(names)}")
    return registry.built(config, name)
