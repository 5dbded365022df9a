"""Attacks by name, the poisoning of a client's data, attack schedules and triggered test sets."""

from attacks.badnets import BadNets
from attacks.base import ATTACKS, Attack, CraftContext
from attacks.evaluation import TriggeredTestSet, triggered_test_set
from attacks.no_attack import NoAttack
from attacks.poisoning import poison_dataset
from attacks.schedule import check_target, is_attack_round, malicious_partitions

__all__ = [
    "ATTACKS",
    "Attack",
    "BadNets",
    "CraftContext",
    "NoAttack",
    "TriggeredTestSet",
    "check_target",
    "is_attack_round",
    "malicious_partitions",
    "poison_dataset",
    "triggered_test_set",
]
