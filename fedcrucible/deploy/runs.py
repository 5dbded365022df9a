"""Submitting a run to a deployment: what the description knows needn't be typed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from fedcrucible.deploy.connection import connected
from fedcrucible.deploy.topology import Topology
from fedcrucible.engines.flower.submission import checked
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.records.schema import RunSummary

CLIENTS, LISTED, ATTACKERS = "federation.clients", "federation.node_partitions", "adversary.malicious_ids"


def settings_of(topology: Topology, settings: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """``settings`` with what the description says of the clients beneath them.

    As many clients as sites (of a smaller number, the sites with the first partitions), only listed nodes, and the
    sites that attack.
    """
    clients = settings.get(CLIENTS, len(topology.sites))
    sites = [site for site in topology.sites if isinstance(clients, int) and site.partition < clients]
    known: dict[str, Scalar] = {
        CLIENTS: clients,
        LISTED: ", ".join(f"{site.name}:{site.partition}" for site in sites),
    }
    attackers = [str(site.partition) for site in sites if site.role == "malicious"]
    if attackers:
        known[ATTACKERS] = ", ".join(attackers)
    if all(site.own_data for site in sites):
        known["federation.own_data"] = True
    return {**known, **settings}


def submit(
    topology: Topology,
    settings: Mapping[str, Scalar],
    superlink: str,
    authority: Path,
    on_line: Callable[[str], None] = print,
) -> RunSummary:
    """Run one configuration on the SuperLink at ``superlink`` and return its summary.

    ``settings`` go before what the description says.  Raises ConfigError before anything is sent, FlowerRunError.
    """
    config = checked(settings_of(topology, settings))
    with connected(superlink, authority) as submission:
        return submission.run(config, on_line)
