"""Who is malicious: the run's seed says so in simulation, the node's own configuration in deployment."""

from __future__ import annotations

from flwr.app import Context

from attacks.schedule import malicious_partitions
from client_app.confidential import TellableError
from client_app.session import partition_of, run_config
from fedcrucible_core.config.compose import RunConfigBase

ROLES = ("benign", "malicious", "by-seed")


def declared_role(context: Context) -> str:
    """What the node's own configuration says that it is. Raises ConfigError for a role that there isn't."""
    role = context.node_config.get("role", "by-seed")
    if role not in ROLES:
        raise TellableError("node-config role", role, f"allowed: {', '.join(ROLES)}")
    return str(role)


def is_malicious(context: Context) -> bool:
    """The role of a node.

    ``--node-config "role='benign'"`` (or ``malicious``) wins: no run configuration can turn an honest machine into an
    attacker.  Without a role, or with ``by-seed``, the run's seed chooses, as in simulation.
    """
    role = declared_role(context)
    if role != "by-seed":
        return role == "malicious"
    config = run_config(context)
    return partition_of(context) in malicious_partitions(config)


def attacker_number(config: RunConfigBase, partition: int) -> int:
    """0, 1, ... among the attackers drawn by seed; a node made malicious by hand counts by its partition."""
    attackers = malicious_partitions(config)
    return attackers.index(partition) if partition in attackers else partition
