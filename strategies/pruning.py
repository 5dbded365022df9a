"""Federated pruning: plain averaging, and one repair of the final model."""

from __future__ import annotations

from strategies.rule_alone import RuleAloneStrategy
from strategies.systems import SYSTEMS, System


class PruningStrategy(RuleAloneStrategy):
    """FedAvg; after the last round clients rank the channels of one layer by their activity on clean data.

    The channels that the clients together find least used are silenced (repair ``pruning``).
    """


@SYSTEMS.register("pruning")
class Pruning(System):
    """Federated pruning: FedAvg; after the last round, channels that clients' clean data don't use are silenced."""

    paper = (("wu2020pruning", "as far as known"), ("wu2022cleansing", "published form"))
    choices = ("pruning-answers",)
    rule = "fedavg"
    repair = "pruning"
    strategy = PruningStrategy
