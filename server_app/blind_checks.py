"""What a blind run can't be: all that honest clients would have to know to take part."""

from __future__ import annotations

from attacks.adversary import Adversary
from attacks.schedule import malicious_partitions
from attacks.task import AttackTask
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.blind import BLIND
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.learning.data import DataSplits
from strategies.population import SOLE
from strategies.systems import Assembled


def check_blind(config: RunConfigBase, system: Assembled, data: DataSplits) -> None:
    """Raise ConfigError, naming the setting that gives the truth away, for a run that can't be blind."""
    blind = f"{BLIND} = true"
    if list(system.kind.prototypes(config)) != [SOLE]:
        allowed = f"with {blind} all clients train one model; clients of several architectures must know theirs"
        raise ConfigError("strategy", config.strategy, allowed)
    if system.rule_needs.training is not None:
        allowed = f"asks honest clients to train in its own way, so they must know it; not with {blind}"
        raise ConfigError("defense.name", system.rule_name, allowed)
    if system.repair is not None and system.repair.needs.survey is not None:
        raise ConfigError("repair.name", system.repair.name, f"asks clients about the final model; not with {blind}")
    if config.federation.evaluate_triggered == "common":
        allowed = f"clients of a run with {blind} don't know the trigger; allowed: own"
        raise ConfigError("federation.evaluate_triggered", "common", allowed)
    if (
        not config.federation.own_data
        and Adversary.of(config).poisoner.withheld(AttackTask.of(config, data)) is not None
    ):
        allowed = f"keeps images from all clients, so that they must know it; not with {blind}, unless data are own"
        raise ConfigError("attack.name", config.attack.name, allowed)
    drawn = malicious_partitions(config)
    if drawn and not config.adversary.malicious_ids.strip():
        listed = ", ".join(map(str, drawn))
        allowed = f"with {blind} say who attacks, whose nodes know it by their role; the seed would draw '{listed}'"
        raise ConfigError("adversary.malicious_ids", "", allowed)
