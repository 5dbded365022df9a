"""RunConfig = the fixed sections plus one sub-section per registered component.

This file is the plug-in point: it names the rooms that hold components and imports them only when the full
configuration type is asked for.
"""

from __future__ import annotations

import importlib
from functools import lru_cache
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field, create_model

from fedcrucible_core.config.component import Component
from fedcrucible_core.config.registry import Registry
from fedcrucible_core.config.sections import (
    AdversarySection,
    AttackSection,
    ClientSection,
    DefenseSection,
    FederationSection,
    FmFlSection,
    GuideSection,
    ModelSection,
    OutputSection,
    PartitionSection,
    PoisonSection,
    PurifierSection,
    RepairSection,
    RunSection,
    Section,
    SplitterSection,
    SyntheticSection,
    TaskSection,
    TrainingSection,
)

REGISTRIES: dict[str, tuple[type[Section], str, str]] = {
    # section: (fixed part, module, registry object in it)
    "partition": (PartitionSection, "fedcrucible_core.learning.partition.base", "PARTITIONERS"),
    "model": (ModelSection, "fedcrucible_core.learning.models.base", "MODELS"),
    "attack": (AttackSection, "attacks.adversary", "ATTACKS"),
    "defense": (DefenseSection, "defenses.base", "RULES"),
    "purifier": (PurifierSection, "defenses.base", "PURIFIERS"),
    "repair": (RepairSection, "defenses.base", "REPAIRS"),
    "splitter": (SplitterSection, "defenses.base", "SPLITTERS"),
    "synthetic": (SyntheticSection, "fedcrucible_core.foundation.base", "SOURCES"),
}
PLAIN: dict[str, type[Section]] = {
    "run": RunSection,
    "task": TaskSection,
    "training": TrainingSection,
    "poison": PoisonSection,
    "adversary": AdversarySection,
    "federation": FederationSection,
    "client": ClientSection,
    "fm_fl": FmFlSection,
    "guide": GuideSection,
    "output": OutputSection,
}
ORDER = (
    "run", "task", "partition", "model", "training", "federation", "client", "attack", "poison", "adversary",
    "defense", "purifier", "repair", "splitter", "guide", "synthetic", "fm_fl", "output",
)  # fmt: skip


def registry_of(section: str) -> Registry[Component]:
    """The registry behind a section, e.g. ``registry_of("attack")``; imports its room."""
    _, module, attribute = REGISTRIES[section]
    return cast("Registry[Component]", getattr(importlib.import_module(module), attribute))


def component_field(name: str) -> str:
    """The Python name of a component's sub-section: a key has dashes, and may be a word of the section's own."""
    return name.replace("-", "_") + "_"


def _section_with_components(section: str) -> type[Section]:
    base = REGISTRIES[section][0]
    fields: dict[str, Any] = {}
    for name, cls in registry_of(section).classes().items():
        if not cls.model_fields:
            continue
        fields[component_field(name)] = (cls, Field(default_factory=cls, alias=name, description=name))
    return create_model(base.__name__, __base__=base, __doc__=base.__doc__, **fields)


class RunConfigBase(BaseModel):
    """What static code may rely on; the concrete type is made by :func:`run_config_type`."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), populate_by_name=True)

    strategy: str = Field("clip-fed", description="System under test by registered name")
    run: RunSection
    task: TaskSection
    partition: PartitionSection
    model: ModelSection
    training: TrainingSection
    federation: FederationSection
    client: ClientSection
    attack: AttackSection
    poison: PoisonSection
    adversary: AdversarySection
    defense: DefenseSection
    purifier: PurifierSection
    repair: RepairSection
    splitter: SplitterSection
    guide: GuideSection
    synthetic: SyntheticSection
    fm_fl: FmFlSection
    output: OutputSection

    def named(self, key: str) -> str:
        """The name that stands at a key, e.g. ``attack.name``."""
        found: Any = self
        for part in key.split("."):
            found = getattr(found, part)
        return str(found)

    def component(self, section: str, name: str) -> Component:
        """The component ``name`` of a section, built from this configuration's parameters for it.

        Raises ConfigError for a name that isn't there.
        """
        cls = registry_of(section)[name]
        chosen = getattr(getattr(self, section), component_field(name), None)
        return chosen if isinstance(chosen, cls) else cls()


@lru_cache(maxsize=1)
def run_config_type() -> type[RunConfigBase]:
    """The full pydantic type, every registered component included."""
    fields: dict[str, Any] = {}
    for section in ORDER:
        kind = PLAIN.get(section) or _section_with_components(section)
        fields[section] = (kind, Field(default_factory=kind, description=(kind.__doc__ or "").strip()))
    return create_model("RunConfig", __base__=RunConfigBase, **fields)
