"""Impossible settings of what honest clients hold and do with it, found before any client starts."""

from __future__ import annotations

from attacks.adversary import Adversary
from attacks.schedule import has_attack
from attacks.upstream import KEY as UPSTREAM
from attacks.upstream import upstream_partitions
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.learning.data import DataSplits
from server_app.splitter_checks import check_splitter
from strategies.systems import Assembled

SANITIZER = "client.sanitizer"
AT_THE_SERVER = {
    "victim-ckpt5": "scores by the model of central training",
    "file": "scores by a file of the server's",
}
"""What ``splitter.NAME.score`` means where no client can follow."""


def check_upstream(config: RunConfigBase, system: Assembled, adversary: Adversary) -> None:
    """There are clients whose data can be poisoned before the run, here: no configuration reaches a node's own.

    And the attack poisons data.

    Raises ConfigError.
    """
    listed = config.poison.upstream
    if not listed.strip():
        return
    if system.rule is None:
        raise ConfigError(UPSTREAM, listed, f"strategy {config.strategy!r} has no clients; allowed: empty")
    if config.federation.own_data:
        raise ConfigError(UPSTREAM, listed, "nodes with data of their own can't be poisoned from here; allowed: empty")
    upstream_partitions(config)
    poisoner = adversary.poisoner
    if has_attack(config) and not (poisoner.targeted or poisoner.poisons_own):
        key, name = (
            ("attack.trigger", config.attack.trigger) if adversary.planted else ("attack.name", config.attack.name)
        )
        allowed = (
            f"poisons no data, so none comes poisoned to anybody, and {UPSTREAM} = {listed!r}; allowed: a poisoner"
        )
        raise ConfigError(key, name, allowed)


def check_client_splitter(config: RunConfigBase, system: Assembled, data: DataSplits) -> None:
    """Clients can do what client.sanitizer asks of them. Raises ConfigError."""
    splitter, action = system.client_splitter, config.client.sanitizer
    if action != "none" and system.rule is None:
        raise ConfigError(SANITIZER, action, f"strategy {config.strategy!r} has no clients; allowed: none")
    if splitter is None:
        return
    fresh = splitter.needs.fresh
    if fresh is not None and fresh.score in AT_THE_SERVER:
        allowed = f"{AT_THE_SERVER[fresh.score]}, a client has none; allowed: fresh3x5, true-kfold"
        raise ConfigError(f"splitter.{splitter.name}.score", fresh.score, allowed)
    check_splitter(splitter, "client.splitter", data.info)
    if config.guide.backdoor != "none":
        allowed = (
            f"is simulated at the server alone, and {SANITIZER} = {action!r} asks the guide at clients; allowed: none"
        )
        raise ConfigError("guide.backdoor", config.guide.backdoor, allowed)
    if config.guide.target_accuracy and config.federation.own_data:
        allowed = f"needs labelled samples at nodes with data of their own ({SANITIZER} asks there); allowed: 0"
        raise ConfigError("guide.target_accuracy", config.guide.target_accuracy, allowed)
