"""A system = who trains, which rule aggregates, what purifies; every registered rule is a system by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from defenses.base import PURIFIERS, RULES, AggregationRule, Purifier
from defenses.support.root_set import RootedRule
from fedcrucible_core.config import Component, ConfigError, Registry
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.config.errors import did_you_mean


class System(Component):
    """A named combination of rule and purifier."""

    rule: ClassVar[str] = "fedavg"
    purifier: ClassVar[str] = "none"
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


@dataclass(frozen=True)
class Assembled:
    """A system with its components built from one configuration."""

    name: str
    rule: AggregationRule
    purifier: Purifier | None
    uses_clients: bool
    zero_shot: bool

    @property
    def needs_guide(self) -> bool:
        """Whether the guide is asked anything during the run."""
        return self.zero_shot or (self.purifier is not None and self.purifier.needs_guide)

    @property
    def needs_server_data(self) -> bool:
        """Whether the server's synthetic images are used: to purify, by a rule's repair, or as its root set."""
        rule = self.rule
        rooted = isinstance(rule, RootedRule) and rule.root == "synthetic"
        return self.purifier is not None or (self.uses_clients and (rooted or rule.needs_server_images))

    @property
    def knowledge(self) -> tuple[str, ...]:
        """What the parts need that a real server may not have."""
        parts: tuple[Component | None, ...] = (self.rule if self.uses_clients else None, self.purifier)
        return tuple(dict.fromkeys(item for part in parts if part is not None for item in part.knowledge))


def strategy_names() -> list[str]:
    """Every value that ``strategy`` accepts: composed systems and rules alone."""
    return sorted({*SYSTEMS, *RULES})


def assemble(config: RunConfigBase) -> Assembled:
    """Build the system a configuration names. Raises ConfigError for unknown names."""
    name = config.strategy
    if name in SYSTEMS:
        system = SYSTEMS[name]
        rule, purifier = system.rule, system.purifier
        uses_clients, zero_shot = system.uses_clients, system.zero_shot
    elif name in RULES:
        rule, purifier, uses_clients, zero_shot = name, "none", True, False
    else:
        names = strategy_names()
        raise ConfigError("strategy", name, f"{did_you_mean(name, names)}allowed: {', '.join(names)}")
    rule = rule if config.defense.name == "auto" else config.defense.name
    purifier = purifier if config.purifier.name == "auto" else config.purifier.name
    _named("defense.name", rule, RULES)
    if purifier != "none":
        _named("purifier.name", purifier, PURIFIERS, extra=("auto", "none"))
    built_rule = RULES.built(config, rule)
    built_purifier = None if purifier == "none" else PURIFIERS.built(config, purifier)
    return Assembled(name, built_rule, built_purifier, uses_clients, zero_shot)


def _named(
    key: str, name: str, registry: Registry[AggregationRule] | Registry[Purifier], extra: tuple[str, ...] = ("auto",)
) -> None:
    if name not in registry:
        names = [*extra, *registry]
        raise ConfigError(key, name, f"{did_you_mean(name, names)}allowed: {', '.join(names)}")
