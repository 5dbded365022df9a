"""What a guide reads in place of a class name: templates, or prompts written for each class."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.sections import GuideSection
from fedcrucible_core.config.text_files import read_text
from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.datasets.class_folders import folded

TEXT_TEMPLATES = ("{}", "a text about {}", "this text is about a kind of {}", "the definition of a kind of {}")
"""Of guides for texts, where nothing better is known of a class."""
KEY = "guide.prompts"


@dataclass(frozen=True)
class ClassPrompts:
    """The prompts of each class, whose embeddings are averaged."""

    templates: tuple[str, ...]
    """Each with one ``{}`` for the class name; for classes without prompts of their own."""
    own: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Prompts by class name, folded."""

    def of(self, class_name: str) -> tuple[str, ...]:
        """The prompts of a class, at least one."""
        made = tuple(template.replace("{}", class_name) for template in self.templates)
        return self.own.get(folded(class_name)) or made


def class_prompts(section: GuideSection, info: DataInfo) -> ClassPrompts:
    """The prompts that ``guide.prompts`` chooses for a data set.

    ``auto``: of texts those that ship where every class has some, else general templates; of pictures
    ``guide.templates``.  Raises ConfigError for a template without ``{}``, or a file that can't be used.
    """
    templates = parse_templates(section.templates)
    if section.prompts == "templates" or (section.prompts == "auto" and info.task != "text"):
        return ClassPrompts(templates)
    if section.prompts != "auto":
        return _from_file(section.prompts, templates, info)
    shipped = _read(_shipped())
    known = all(folded(name) in shipped for name in info.class_names)
    return ClassPrompts(TEXT_TEMPLATES, shipped if known else {})


def parse_templates(text: str) -> tuple[str, ...]:
    """Templates separated by ``|``. Raises ConfigError where one hasn't exactly one ``{}``."""
    parts = tuple(part.strip() for part in text.split("|"))
    for part in parts:
        if part.count("{}") != 1:
            raise ConfigError("guide.templates", text, f"each template needs one {{}}, unlike {part!r}")
    return parts


def _from_file(value: str, templates: tuple[str, ...], info: DataInfo) -> ClassPrompts:
    """Raises ConfigError that names what is wrong with the file."""
    path = Path(value).expanduser()
    if not path.is_file():
        raise ConfigError(KEY, value, "no such file; allowed: auto, templates, a TOML file (class = [prompts])")
    try:
        own = _read(path)
    except (OSError, ValueError) as error:
        raise ConfigError(KEY, value, f"can't be used ({error}); wanted is TOML, class = [prompts]") from error
    missing = [name for name in info.class_names if folded(name) not in own]
    if missing:
        raise ConfigError(KEY, value, f"has no prompts for {', '.join(missing)}")
    return ClassPrompts(templates, own)


def _read(path: Path) -> dict[str, tuple[str, ...]]:
    """Prompts by folded class name. Raises ValueError for what is no list of texts."""
    found: dict[str, tuple[str, ...]] = {}
    for name, prompts in tomllib.loads(read_text(path)).items():
        if not _texts(prompts):
            raise ValueError(f"{name!r} must be a list of texts, none of them empty")
        found[folded(name)] = tuple(prompts)
    return found


def _texts(prompts: object) -> bool:
    listed = isinstance(prompts, Sequence) and not isinstance(prompts, str) and len(prompts) > 0
    return listed and all(isinstance(prompt, str) and prompt.strip() for prompt in prompts)  # type: ignore[attr-defined]


def _shipped() -> Path:
    from fedcrucible_assets import asset_path

    return asset_path("text-prompts")
