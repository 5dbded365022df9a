"""The classes that an attack is confined to: ``poison.classes``."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, cast

from attacks.guide_evasion import most_like_target
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.config.sections import GuideSection, PoisonSection, TaskSection
from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.datasets import load_task
from fedcrucible_core.learning.device import resolve_device

if TYPE_CHECKING:
    from attacks.poisoner import Poisoner
    from fedcrucible_core.foundation.chat_settings import ChatSettings  # a client needs none

KEY = "poison.classes"
NEAREST = "nearest"


def source_classes(config: RunConfigBase, info: DataInfo) -> tuple[int, ...]:
    """Ascending classes that a run's attack is confined to; empty = to none.

    ``nearest`` is the one class whose training images the run's own guide, unaltered, finds most like the target: asked
    once per process, of all of them, and only of a central training set, where the attacker has images and guide.

    Raises:
        ConfigError: ``poison.classes`` says what can't be.
    """
    if config.attack.name == "none":
        return ()
    if not wants_nearest(config.poison):
        return listed_classes(config.poison, info)
    if not config.poison.central:
        allowed = "asks a guide about a central training set, and clients have none (poison.central = true)"
        raise ConfigError(KEY, config.poison.classes, f"{allowed}; allowed: a list of classes, or empty")
    chat = cast("ChatSettings", config.component("synthetic", "llm"))
    return (_nearest(config.task, config.guide, chat, config.poison.target_label, config.run.device),)


def wants_nearest(section: PoisonSection) -> bool:
    """Whether a guide says which class it is."""
    return section.classes.strip() == NEAREST


def listed_classes(section: PoisonSection, info: DataInfo) -> tuple[int, ...]:
    """Ascending classes that ``poison.classes`` lists; empty = all.

    Raises:
        ConfigError: it lists something that is no class, the target, or one twice.
    """
    if not section.classes.strip():
        return ()
    found: list[int] = []
    for part in section.classes.split(","):
        stripped = part.strip()
        if not (stripped.isascii() and stripped.isdigit()) or int(stripped) >= info.num_classes:
            allowed = f"{stripped!r} is no class; allowed: numbers 0 to {info.num_classes - 1} by commas, or {NEAREST}"
            raise ConfigError(KEY, section.classes, allowed)
        if int(stripped) == section.target_label:
            raise ConfigError(KEY, section.classes, f"{stripped} is the target (poison.target_label); allowed: others")
        if int(stripped) in found:
            raise ConfigError(KEY, section.classes, f"{stripped} is listed twice")
        found.append(int(stripped))
    return tuple(sorted(found))


def check_classes(section: PoisonSection, poisoner: Poisoner) -> None:
    """The poisoner's samples can be of these classes. Raises ConfigError."""
    if not section.classes.strip():
        return
    if poisoner.clean_label:
        allowed = f"{poisoner.name!r} poisons the target's own images alone, and measures on all others; allowed: empty"
        raise ConfigError(KEY, section.classes, allowed)
    if poisoner.natural:
        allowed = f"{poisoner.name!r} says itself which images it is about, in its own section; allowed: empty"
        raise ConfigError(KEY, section.classes, allowed)


@lru_cache(maxsize=8)
def _nearest(task: TaskSection, guide: GuideSection, chat: ChatSettings, target: int, device: str) -> int:
    from fedcrucible_core.foundation.guides import plain_guide  # only who asks a guide loads one

    data = load_task(task)
    asked = plain_guide(guide, data.info, resolve_device(device), chat)
    logits = asked.targets(data.train.for_model(), data.info.class_names).logits.cpu()
    return most_like_target(logits, data.train.labels, target)
