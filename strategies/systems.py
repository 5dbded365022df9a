"""A system = who trains, which rule aggregates, what purifies and repairs; every rule is a system by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, TypeVar

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
from fedcrucible_core.config.compose import RunConfigBase, component_field
from fedcrucible_core.config.errors import did_you_mean
from strategies.population import SOLE, Prototype

if TYPE_CHECKING:
    from strategies.loop import Loop

T = TypeVar("T", bound=Component)
PAPERS_SPLITTER = "cgd-entropy"
"""What splits for a repair or a purifier where ``splitter.name`` names nothing."""


class System(Component):
    """A named combination of trainer, rule, purifier and repair, with the Flower strategy that runs it."""

    trainer: ClassVar[Literal["federation", "central", "nobody"]] = "federation"
    """Who trains each round: the clients, the server on all training data, or nobody."""
    rule: ClassVar[str] = "none"
    """Name of the aggregation rule; a federation needs one."""
    purifier: ClassVar[str] = "none"
    """Name of what the server does to the model each round."""
    repair: ClassVar[str] = "none"
    """Name of what the server does to the final model."""
    measure: ClassVar[Literal["model", "guide"]] = "model"
    """What is measured: the model, or the guide's own answers (then nothing is trained)."""
    synthetic: ClassVar[bool] = False
    """Whether the clients' models learn from the server's synthetic data in some other way than by a purifier."""
    small_groups: ClassVar[Literal["keep", "mean"]] = "keep"
    """Where fewer clients of a prototype replied than the rule can judge: keep its model, or take their mean."""
    strategy: ClassVar[type[Loop]]
    """The Flower strategy."""

    @classmethod
    def prototypes(cls, config: RunConfigBase) -> Mapping[Prototype, RunConfigBase]:
        """The configuration that the clients of each prototype live by; they may differ in the section ``model``.

        Pure: server and clients both call it.
        """
        return {SOLE: config}

    @classmethod
    def prototype_of(cls, config: RunConfigBase, partition: int) -> Prototype:
        """The prototype of a client: by turns. Pure: server and clients both call it."""
        names = tuple(cls.prototypes(config))
        return names[partition % len(names)]


SYSTEMS: Registry[System] = Registry("strategy", "strategies", key="strategy")
"""Every module of this room is looked through: a system is one file."""


@dataclass(frozen=True)
class Assembled:
    """A system with its components built from one configuration."""

    name: str
    kind: type[System]
    rule: AggregationRule | None
    """None: no client trains."""
    purifier: Purifier | None
    repair: Repair | None
    splitter: Splitter | None
    """What parts the server's synthetic images before they are used; only clean ones are kept."""
    suspects_splitter: Splitter | None = None
    """What splits a repair's suspects or a purifier's server data; None = neither asks for a split."""
    client_splitter: Splitter | None = None
    """What honest clients split their own data by (``client.sanitizer``); None = they don't."""

    @property
    def rule_name(self) -> str:
        """The rule's registered name; empty where no client trains."""
        return "" if self.rule is None else self.rule.name

    @property
    def trains(self) -> bool:
        """Whether there is a model at the end that the run made; False: the guide itself is measured."""
        return self.kind.measure == "model"

    @property
    def rule_needs(self) -> Needs:
        """What the rule asks for; nothing without one."""
        return self.rule.needs if self.rule is not None else Needs()

    @property
    def repair_needs(self) -> Needs:
        """What the repair asks for; nothing without one."""
        return self.repair.needs if self.repair is not None else Needs()

    @property
    def needs_guide(self) -> bool:
        """Whether the guide is asked anything during the run."""
        purifies = self.purifier is not None and self.purifier.needs.guide
        of_data = self.splitter if self.needs_server_data else None
        splits = any(
            s is not None and s.needs.may_ask_guide for s in (of_data, self.suspects_splitter, self.client_splitter)
        )
        return self.kind.measure == "guide" or purifies or splits or self.repair_needs.guide

    @property
    def suspects_are_central(self) -> bool:
        """Whether a repair's suspects are the central training set; else they are the server's synthetic samples."""
        return self.kind.trainer == "central"

    @property
    def needs_server_data(self) -> bool:
        """Whether the server's synthetic images are used: by the system, to purify, as a root set, or by a repair."""
        root = self.rule_needs.root
        rooted = root is not None and root.kind == "synthetic"
        return self.kind.synthetic or self.purifier is not None or rooted or self._repairs_with_server_data

    @property
    def _repairs_with_server_data(self) -> bool:
        needs = self.repair_needs
        if needs.server_images or (needs.guide and not needs.suspects):
            return True
        if needs.clean is not None and needs.clean.kind == "synthetic":
            return True
        return needs.looks_at_suspects and not self.suspects_are_central

    @property
    def knowledge(self) -> tuple[str, ...]:
        """Knowledge that the parts need and a real server may not have."""
        parts = [part for part in (self.rule, self.purifier, self.repair) if part is not None]
        of_parts = [item for part in parts for item in part.knowledge]
        return tuple(dict.fromkeys([*self.kind.knowledge, *of_parts]))


def strategy_names() -> list[str]:
    """Every value that ``strategy`` accepts: composed systems and rules alone."""
    return sorted({*SYSTEMS, *RULES})


def system_of(config: RunConfigBase) -> type[System]:
    """The system that a configuration names; a rule alone is one too. Raises ConfigError for an unknown name."""
    name = config.strategy
    if name in SYSTEMS:
        return SYSTEMS[name]
    if name not in RULES:
        names = strategy_names()
        raise ConfigError("strategy", name, f"{did_you_mean(name, names)}allowed: {', '.join(names)}")
    from strategies.rule_alone import RuleAlone

    return RuleAlone


def prototype_of(config: RunConfigBase, partition: int) -> Prototype:
    """The prototype that a client trains."""
    return system_of(config).prototype_of(config, partition)


def prototype_config(config: RunConfigBase, partition: int) -> RunConfigBase:
    """The configuration that a client's model is built from."""
    system = system_of(config)
    return system.prototypes(config)[system.prototype_of(config, partition)]


def model_config(config: RunConfigBase, model: str, parameters: Mapping[str, object]) -> RunConfigBase:
    """A configuration with another model, or other parameters of its model."""
    section = config.model.model_copy(update={"name": model})
    spec = config.component("model", model).model_copy(update=dict(parameters))
    field = component_field(model)
    if field in type(section).model_fields:
        section = section.model_copy(update={field: spec})
    return config.model_copy(update={"model": section})


def assemble(config: RunConfigBase) -> Assembled:
    """Build the system a configuration names. Raises ConfigError for unknown names."""
    system = system_of(config)
    rule = config.strategy if config.strategy not in SYSTEMS else system.rule
    rule = rule if config.defense.name == "auto" else config.defense.name
    if rule != "none":
        _known(RULES, rule, "auto")
    chosen = system.repair if config.repair.name == "auto" else config.repair.name
    repair = None if chosen == "none" else _built(config, REPAIRS, chosen, "auto", "none")
    splitter = None if config.splitter.name == "none" else _built(config, SPLITTERS, config.splitter.name, "none")
    of_purifier = system.purifier if config.purifier.name == "auto" else config.purifier.name
    purifier = None if of_purifier == "none" else _built(config, PURIFIERS, of_purifier, "auto", "none")
    splits = any(part is not None and part.needs.splits for part in (purifier, repair))
    return Assembled(
        config.strategy,
        system,
        RULES.built(config, rule) if system.trainer == "federation" else None,
        purifier,
        repair,
        splitter,
        splitter or _papers_splitter(config) if splits else None,
        _client_splitter(config) if system.trainer == "federation" else None,
    )


def _client_splitter(config: RunConfigBase) -> Splitter | None:
    if config.client.sanitizer == "none":
        return None
    name = config.client.splitter
    if name not in SPLITTERS:
        raise ConfigError("client.splitter", name, f"{did_you_mean(name, SPLITTERS)}allowed: {', '.join(SPLITTERS)}")
    return SPLITTERS.built(config, name)


def _papers_splitter(config: RunConfigBase) -> Splitter:
    """CGD's splitter with its section's parameters, by the paper's ranks (``rule = sigmas``) whatever that says."""
    return SPLITTERS.built(config, PAPERS_SPLITTER).model_copy(update={"rule": "sigmas"})


def _built(config: RunConfigBase, registry: Registry[T], name: str, *words: str) -> T:
    """The component ``name``; ``words`` are what its key may say beside names of components."""
    _known(registry, name, *words)
    return registry.built(config, name)


def _known(registry: Registry[T], name: str, *words: str) -> None:
    if name not in registry:
        names = [*words, *registry]
        raise ConfigError(registry.key, name, f"{did_you_mean(name, names)}allowed: {', '.join(names)}")
