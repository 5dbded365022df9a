"""Impossible settings of which samples are poisoned, found before anything runs."""

from __future__ import annotations

from attacks.adversary import Adversary
from attacks.schedule import attackers_are_clients, has_attack
from attacks.source_classes import KEY, check_classes, listed_classes, wants_nearest
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.learning.data import DataSplits
from server_app.guide_checks import check_guide_is_here

SMOKE = "poison.smoke"


def check_poisoned_classes(config: RunConfigBase, adversary: Adversary, data: DataSplits) -> None:
    """poison.classes names classes that the attack can be confined to, and somebody can say which. Raises ConfigError.

    A run without attack, or whose attack plants nothing, is none of its concern.
    """
    section, poisoner = config.poison, adversary.poisoner
    if not section.classes.strip() or not has_attack(config):
        return
    if adversary.compromise is not None:
        name = adversary.compromise.name
        allowed = f"{name} plants its trigger by settings of its own (attack.{name}.*); allowed: empty"
        raise ConfigError(KEY, section.classes, allowed)
    check_classes(section, poisoner)
    if not wants_nearest(section):
        listed_classes(section, data.info)
    elif config.poison.central:  # elsewhere it is refused where it is asked for
        check_guide_is_here(config, data)


def check_smoke(config: RunConfigBase) -> None:
    """There are samples of an attacker's that could be given other labels. Raises ConfigError."""
    if config.poison.smoke and has_attack(config) and not attackers_are_clients(config):
        name = config.attack.name
        allowed = f"{name} has no samples but the server's synthetic ones (attack.{name}.smoke, where it has one)"
        raise ConfigError(SMOKE, config.poison.smoke, f"{allowed}; allowed: 0")
