"""All that can be named in a configuration, with what its author says of it."""

from __future__ import annotations

import html
import inspect
import itertools
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fedcrucible.papers.references import in_words, sources
from fedcrucible_core.config.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from fedcrucible_core.config.citation import Paper
    from fedcrucible_core.config.component import Component
    from fedcrucible_core.config.describe import KeyInfo

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Entry:
    """One name: what it is, where it comes from, what it needs, its parameters as configuration keys."""

    kind: str
    name: str
    doc: str
    paper: Paper = ""
    """Its source: keys of docs/references.toml with a place, or words."""
    knowledge: tuple[str, ...] = ()
    file: str = ""
    chosen_by: str = ""
    """The setting that chooses it, e.g. ``attack.name=badnets``."""
    parameters: tuple[KeyInfo, ...] = ()
    parts: dict[str, str] = field(default_factory=dict)
    """What a composed strategy consists of; which kind of attack it is."""
    state_kept: str = ""
    """What it remembers between rounds."""
    cost: str = ""
    traps: tuple[str, ...] = ()
    """Known mistakes that it avoids."""
    choices: tuple[str, ...] = ()
    """Headings of docs/choices.md: what its source leaves open."""

    @property
    def summary(self) -> str:
        """First line of the documentation."""
        return self.doc.split("\n", 1)[0]

    def as_object(self) -> dict[str, object]:
        """For JSON; ``paper`` in words, ``references`` in full."""
        references = [asdict(one) | {"place": place, "link": one.link} for one, place in sources(self.paper)]
        return {"summary": self.summary} | asdict(self) | {"paper": in_words(self.paper), "references": references}


class Catalogue(tuple[Entry, ...]):
    """Entries, with a table for terminals and notebooks."""

    __slots__ = ()

    def __repr__(self) -> str:
        width = max((len(entry.name) for entry in self), default=0)
        return "\n".join(f"{entry.kind:12}  {entry.name:{width}}  {entry.summary}" for entry in self)

    def _repr_html_(self) -> str:
        """For notebooks."""
        rows = "".join(
            "<tr>"
            + "".join(f"<td style='text-align:left'>{html.escape(text)}</td>" for text in _shown(entry))
            + "</tr>"
            for entry in self
        )
        heads = "".join(f"<th style='text-align:left'>{head}</th>" for head in ("kind", "name", "what it is", "needs"))
        return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"


def _shown(entry: Entry) -> tuple[str, ...]:
    return entry.kind, entry.name, entry.summary, "; ".join(entry.knowledge)


def entries(kind: str) -> list[Entry]:
    """Everything of one kind, by name. Raises ConfigError for an unknown kind."""
    if kind not in KINDS:
        raise ConfigError("list", kind, f"{did_you_mean(kind, KINDS)}allowed: {', '.join(KINDS)}")
    return list(KINDS[kind]())


def find(name: str, kinds: Collection[str]) -> list[Entry]:
    """Entries with this name. Raises ConfigError when there is none."""
    every = [entry for kind in kinds for entry in entries(kind)]
    found = [entry for entry in every if entry.name == name]
    if not found:
        names = [*kinds, *sorted({entry.name for entry in every})]
        raise ConfigError("list", name, f"{did_you_mean(name, names)}allowed: {', '.join(names)}")
    return found


def _components(kind: str, section: str) -> list[Entry]:
    from fedcrucible_core.config.compose import registry_of

    registry = registry_of(section)
    return [
        _entry(kind, cls, f"{registry.key}={name}", f"{section}.{name}.") for name, cls in registry.classes().items()
    ]


def _entry(kind: str, cls: type[Component], chosen_by: str, prefix: str) -> Entry:
    from fedcrucible_core.config.describe import describe_field

    return Entry(
        kind,
        cls.name,
        inspect.cleandoc(cls.__doc__ or ""),
        cls.paper,
        cls.knowledge,
        _file(cls),
        chosen_by,
        tuple(describe_field(prefix + (info.alias or name), info) for name, info in cls.model_fields.items()),
        state_kept=cls.state_kept,
        cost=cls.cost,
        traps=cls.traps,
        choices=cls.choices,
    )


def _file(cls: type[Component]) -> str:
    """Where a class stands, from the top of the checkout where it is part of it."""
    path = Path(inspect.getfile(cls)).resolve()
    return (path.relative_to(ROOT) if path.is_relative_to(ROOT) else path).as_posix()


def _attacks() -> list[Entry]:
    """Poisoners, upload attacks and attacks on the server's synthetic data; each says which it is."""
    from attacks.compromise import COMPROMISES
    from attacks.poisoner import POISONERS

    def kind(name: str) -> str:
        return "poisoner" if name in POISONERS else "server's data" if name in COMPROMISES else "upload attack"

    return [replace(entry, parts={"kind": kind(entry.name)}) for entry in _components("attacks", "attack")]


def _strategies() -> list[Entry]:
    from defenses.base import PURIFIERS, REPAIRS, RULES
    from strategies.systems import SYSTEMS

    rules = {entry.name: entry for entry in _components("strategies", "defense")}
    purifiers = {entry.name: entry for entry in _components("strategies", "purifier")}
    repairs = {entry.name: entry for entry in _components("strategies", "repair")}
    found = []
    for name, cls in SYSTEMS.classes().items():
        own = _entry("strategies", cls, f"strategy={name}", "")
        rule = rules.get(cls.rule)
        used = [part for part in (rule, purifiers.get(cls.purifier), repairs.get(cls.repair)) if part is not None]
        found.append(
            Entry(
                own.kind, own.name, own.doc, own.paper,
                tuple(dict.fromkeys(item for part in used for item in part.knowledge)),
                own.file, own.chosen_by,
                tuple(key for part in used for key in part.parameters),
                {"rule": rule.name if rule else "", "purifier": cls.purifier if cls.purifier in PURIFIERS else ""}
                | ({"repair": cls.repair} if cls.repair in REPAIRS else {}),
                "; ".join(part.state_kept for part in used if part.state_kept),
                "; ".join(part.cost for part in used if part.cost),
                choices=tuple(dict.fromkeys(choice for part in (own, *used) for choice in part.choices)),
            )
        )  # fmt: skip
    for name in RULES:
        if name not in SYSTEMS:
            rule = rules[name]
            found.append(
                Entry(rule.kind, name, rule.doc, rule.paper, rule.knowledge, rule.file, f"strategy={name}",
                      rule.parameters, {"rule": name, "purifier": ""}, rule.state_kept, rule.cost, rule.traps,
                      rule.choices)
            )  # fmt: skip
    return sorted(found, key=lambda entry: entry.name)


def _datasets() -> list[Entry]:
    from fedcrucible_core.learning.datasets import DATASETS

    return [
        _entry("datasets", cls, f"task.dataset={'hf:org/name' if name == 'hf' else name}", "")
        for name, cls in DATASETS.classes().items()
    ]


def _guides() -> list[Entry]:
    known = (
        ("tiny", "A small CLIP trained on public Fashion-MNIST images; ships.", "tiny"),
        ("folder", "A CLIP or SigLIP of Hugging Face transformers in a folder of yours.", "/path/to/folder"),
        ("hub", "A CLIP or SigLIP of the Hugging Face hub, fetched once.", "openai/clip-vit-base-patch32"),
    )
    from fedcrucible_core.config.describe import key_info

    keys = tuple(key_info(f"guide.{name}") for name in ("model", "family", "templates", "batch_size", "cache_dir"))
    papers = (("radford2021clip", "CLIP"), ("zhai2023siglip", "SigLIP"))
    return [
        Entry("guides", name, doc, papers, (), "fedcrucible_core/foundation/guide.py", f"guide.model={value}", keys)
        for name, doc, value in known
    ]


def _presets() -> list[Entry]:
    from fedcrucible_core.config.preset import PRESETS, preset_names

    return [_preset(PRESETS / f"{name}.toml", name) for name in preset_names()]


def _preset(path: Path, name: str) -> Entry:
    """The comment at the head of the file is its documentation."""
    from fedcrucible_core.config.preset import preset_layers

    lines = path.read_text(encoding="utf-8").splitlines()
    comments = [
        line.removeprefix("#").strip() for line in itertools.takewhile(lambda line: line.startswith("#"), lines)
    ]
    command = "compare" if "compare" in preset_layers(name)[-1] else "run"
    file = path.relative_to(ROOT).as_posix()
    return Entry("presets", name, "\n".join(comments), file=file, chosen_by=f"fedcrucible {command} --preset {name}")


KINDS: dict[str, Callable[[], list[Entry]]] = {
    "strategies": _strategies,
    "defenses": lambda: _components("defenses", "defense"),
    "purifiers": lambda: _components("purifiers", "purifier"),
    "repairs": lambda: _components("repairs", "repair"),
    "splitters": lambda: _components("splitters", "splitter"),
    "attacks": _attacks,
    "partitioners": lambda: _components("partitioners", "partition"),
    "models": lambda: _components("models", "model"),
    "datasets": _datasets,
    "sources": lambda: _components("sources", "synthetic"),
    "guides": _guides,
    "presets": _presets,
}
"""Kind -> what makes its entries; each imports the rooms it needs."""
