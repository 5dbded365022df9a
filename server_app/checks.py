"""Impossible combinations, found before any client starts."""

from __future__ import annotations

from attacks.schedule import malicious_partitions
from config import ConfigError
from config.compose import RunConfigBase
from learning.data import DataSplits
from strategies.nodes import round_half_up
from strategies.systems import Assembled


def participants_per_round(config: RunConfigBase) -> int:
    """Clients sampled each round."""
    return min(
        config.federation.clients, max(1, round_half_up(config.federation.fraction_train * config.federation.clients))
    )


def attackers(config: RunConfigBase) -> tuple[int, ...]:
    """Partitions that are malicious by this configuration."""
    return malicious_partitions(config.attack, config.federation.clients, config.run.seed)


def check_combination(config: RunConfigBase, system: Assembled, data: DataSplits) -> None:
    """Raise ConfigError for settings that are each fine but can't be had together."""
    clients, images = config.federation.clients, len(data.train)
    if config.attack.target_label >= data.info.num_classes:
        raise ConfigError(
            "attack.target_label",
            config.attack.target_label,
            f"{data.info.name} has classes 0 to {data.info.num_classes - 1}",
        )
    if config.attack.stop_round and config.attack.stop_round < config.attack.start_round:
        raise ConfigError(
            "attack.stop_round", config.attack.stop_round, f"0, or at least attack.start_round = {config.attack.start_round}"
        )
    if config.run.precision == "fp16" and config.run.device == "cpu":
        raise ConfigError("run.precision", "fp16", "fp16 needs a GPU; on a CPU use fp32 or bf16")
    if not system.uses_clients:
        return
    if clients > images:
        raise ConfigError("federation.clients", clients, f"at most the number of training images, {images}")
    sampled = participants_per_round(config)
    if config.federation.min_replies > sampled:
        raise ConfigError(
            "federation.min_replies", config.federation.min_replies, f"at most the {sampled} clients sampled each round"
        )
    share = len(attackers(config)) / clients
    system.rule.check(sampled, int(share * sampled))
