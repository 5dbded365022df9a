"""Guides that can't be asked, found before any client starts."""

from __future__ import annotations

import os
from typing import cast

from attacks.adversary import Adversary
from attacks.schedule import poisons_centrally
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.foundation.chat_settings import ChatSettings
from fedcrucible_core.learning.data import DataSplits


def check_guide_is_here(config: RunConfigBase, data: DataSplits) -> None:
    """The guide is where it is said to be; a hub model that isn't here yet is fetched when the run starts."""
    from fedcrucible_assets import AssetMissingError
    from fedcrucible_core.foundation.guides import check_guide, guide_is_here

    section = config.guide
    try:
        check_guide(section, data.info, cast(ChatSettings, config.component("synthetic", "llm")))
        here = guide_is_here(section.model, data.info)
    except AssetMissingError as error:
        raise ConfigError("guide.model", section.model, str(error)) from error
    if not here and os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        offline = "minilm, wordllama, a folder" if data.info.task == "text" else "tiny, a folder"
        allowed = f"not in the local Hugging Face cache, and HF_HUB_OFFLINE is set; allowed: {offline}"
        raise ConfigError("guide.model", section.model, allowed)


def check_backdoored_guide(config: RunConfigBase, adversary: Adversary) -> None:
    """There are samples that a simulated backdoor of the guide could react to."""
    if config.guide.backdoor != "none" and adversary.compromise is None and not poisons_centrally(config):
        attack = f"there is {config.attack.name!r}"
        allowed = f"needs an attack on the synthetic data (bd-fmfl), or poison.central; {attack}; allowed: none"
        raise ConfigError("guide.backdoor", config.guide.backdoor, allowed)
