"""The guide that a configuration asks for: by the kind of inputs, then weakened or backdoored where it says so."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.places import cache_folder
from fedcrucible_core.config.sections import GuideSection
from fedcrucible_core.foundation.altered_guides import (
    BackdooredGuide,
    CentredGuide,
    NoisyGuide,
    Triggered,
    noise_for_accuracy,
)
from fedcrucible_core.foundation.base import Guide
from fedcrucible_core.foundation.chat_guide import ChatGuide
from fedcrucible_core.foundation.chat_settings import ChatSettings
from fedcrucible_core.foundation.class_prompts import class_prompts
from fedcrucible_core.foundation.guide import load_guide
from fedcrucible_core.foundation.sentence_guide import SentenceGuide
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.tasks.text import TextTask

if TYPE_CHECKING:
    from fedcrucible_core.foundation.chat import ChatClient


CHAT = "chat"
"""``guide.model`` of a chat model, the one that ``synthetic.llm`` sets up."""


def plain_guide(section: GuideSection, info: DataInfo, device: torch.device, chat: ChatSettings | None = None) -> Guide:
    """The frozen model that ``guide.model`` names; nothing is loaded yet, nobody asked.

    Raises:
        ConfigError: its prompts can't be used, or there are no guides for inputs of this kind.
    """
    prompts, cache = class_prompts(section, info), cache_folder(section.cache_dir)
    if info.task == "vision":
        return load_guide(
            section.model, section.family, section.templates, section.batch_size, section.cache_dir, device,
            prompts=prompts, scale=section.scale,
        )  # fmt: skip
    if info.task == "text":
        decode = TextTask(info).decode
        if section.model == CHAT:
            settings = (chat or ChatSettings.model_validate({})).model_copy(update={"temperature": 0.0})
            opened = partial(opened_chat, settings, section.cache_dir)
            return ChatGuide(opened, decode, info.class_names, device, f"{settings.base_url} {settings.model}")
        return SentenceGuide(section.model, prompts, decode, section.batch_size, cache, device, section.scale)
    raise ConfigError("task.dataset", info.name, f"there is no guide for inputs of task {info.task!r}")


def guide_of(
    section: GuideSection,
    info: DataInfo,
    device: torch.device,
    *,
    seed: int = 0,
    labelled: Callable[[], Labeled] | None = None,
    triggered: Triggered | None = None,
    target: int = 0,
    chat: ChatSettings | None = None,
) -> Guide:
    """The guide as the run meets it.

    Args:
        section: the model, its prompts, and what is simulated of it.
        info: class names and kind of inputs.
        device: where the model runs.
        seed: of the noise.
        labelled: samples on which ``guide.target_accuracy`` is measured.
        triggered: which inputs hold the trigger of ``guide.backdoor``; the simulation knows, no defence does.
        target: the attack's target class.
        chat: the service that answers where ``guide.model`` is chat.

    Raises:
        ConfigError: settings that can't be had together.
    """
    guide = plain_guide(section, info, device, chat)
    if section.centre:
        guide = CentredGuide(guide)
    noise = section.noise
    if section.target_accuracy:
        assert labelled is not None
        noise = noise_for_accuracy(guide, labelled(), info.class_names, section.target_accuracy, seed)
    if noise:
        guide = NoisyGuide(guide, noise, seed)
    if section.backdoor in ("same-target", "other-target") and triggered is not None:
        shift = int(section.backdoor == "other-target")
        guide = BackdooredGuide(guide, (target + shift) % info.num_classes, triggered, section.backdoor_by)
    return guide


def opened_chat(settings: ChatSettings, cache_dir: str) -> ChatClient:
    """A client of the service, with its kept answers and its budget."""
    from fedcrucible_core.foundation.chat import ChatClient

    return ChatClient(settings, "synthetic.llm", cache_dir)


def guide_is_here(model: str, info: DataInfo) -> bool:
    """Whether the guide's model needs no download.

    Raises:
        ConfigError: no such folder or package.
        AssetMissingError: the shipped model isn't installed.
    """
    from fedcrucible_core.foundation.encoder import cached_commit, local_folder
    from fedcrucible_core.foundation.sentence_encoder import packaged_folder, text_folder

    if info.task == "text" and model == CHAT:
        return True
    folder = (packaged_folder(model) or text_folder(model)) if info.task == "text" else local_folder(model)
    return folder is not None or cached_commit(model) is not None


def check_guide(section: GuideSection, info: DataInfo, chat: ChatSettings | None = None) -> None:
    """Raise ConfigError for settings of the guide that can't be had together, and for prompts that can't be used.

    Of a chat model also where its key is missing; nobody is asked.
    """
    plain_guide(section, info, torch.device("cpu"))
    if info.task == "text" and section.model == CHAT and chat is not None:
        opened_chat(chat, section.cache_dir).service.key()
    if section.noise and section.target_accuracy:
        raise ConfigError("guide.target_accuracy", section.target_accuracy, "0 where guide.noise is set: it sets that")
