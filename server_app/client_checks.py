"""Impossible settings of what honest clients hold and do with it, found before any client starts."""

from __future__ import annotations

from attacks.upstream import KEY as UPSTREAM
from attacks.upstream import upstream_partitions
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.foundation.public_slice import public_samples
from fedcrucible_core.learning.data import DataSplits
from strategies.systems import Assembled

SANITIZER = "client.sanitizer"


def check_upstream(config: RunConfigBase, system: Assembled) -> None:
    """There are clients whose data can be poisoned before the run, here: no configuration reaches a node's own.

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


def check_client_splitter(config: RunConfigBase, system: Assembled, data: DataSplits) -> None:
    """Clients can do what client.sanitizer asks of them. Raises ConfigError."""
    splitter, action = system.client_splitter, config.client.sanitizer
    if action != "none" and system.rule is None:
        raise ConfigError(SANITIZER, action, f"strategy {config.strategy!r} has no clients; allowed: none")
    if splitter is None:
        return
    fresh = splitter.needs.fresh
    if fresh is not None and fresh.score == "victim-ckpt5":
        allowed = "scores by the model of central training, a client has none; use fresh3x5"
        raise ConfigError(f"splitter.{splitter.name}.score", "victim-ckpt5", allowed)
    if fresh is not None and fresh.on == "public":
        public_samples(data.info, "client.splitter", splitter.name)
    if config.guide.backdoor != "none":
        allowed = (
            f"is simulated at the server alone, and {SANITIZER} = {action!r} asks the guide at clients; allowed: none"
        )
        raise ConfigError("guide.backdoor", config.guide.backdoor, allowed)
    if config.guide.target_accuracy and config.federation.own_data:
        allowed = f"needs labelled samples at nodes with data of their own ({SANITIZER} asks there); allowed: 0"
        raise ConfigError("guide.target_accuracy", config.guide.target_accuracy, allowed)
