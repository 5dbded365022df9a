"""One run under Flower's simulation engine: ``flwr run`` with Ray actors as clients."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from fedcrucible.engines.flower.environment import cpu_count
from fedcrucible.engines.flower.submission import checked
from fedcrucible.engines.flower.superlink import LocalSuperLink
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.blind import BLIND
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.records.schema import RunSummary

CLUSTER = "RAY_ADDRESS"
"""Environment variable with HOST:PORT of a running Ray cluster's head; Ray itself reads it."""


def run_simulation(
    settings: Mapping[str, Scalar],
    *,
    superlink: LocalSuperLink,
    gpus_per_client: float = 0.0,
    on_line: Callable[[str], None] = print,
) -> RunSummary:
    """Run one configuration as ``flwr run`` does and return its summary; ``on_line`` gets the ServerApp's lines.

    Raises ConfigError before anything is started, and FlowerRunError with the cause when the run fails.
    """
    config = checked(settings)
    if config.federation.blind:
        raise ConfigError(BLIND, True, "a simulation's nodes are all this machine; use a deployment, or in-process")
    return superlink.ready().run(config, on_line, federation_config(config, gpus_per_client))


def federation_config(config: RunConfigBase, gpus_per_client: float = 0.0) -> str:
    """The value of ``--federation-config``: one SuperNode per client, one actor per ``run.threads`` CPUs.

    No more actors than clients: each takes seconds to start and its own copy of the data.  Where ``RAY_ADDRESS`` names
    a running cluster, that has as many actors as its nodes have CPUs for, and refuses to be told their number.
    """
    clients, threads = config.federation.clients, config.run.threads
    words = [f"num-supernodes={clients}", f"client-resources-num-cpus={threads}"]
    if not os.environ.get(CLUSTER):
        actors = max(1, min(clients, cpu_count() // threads))
        words.append(f"init-args-num-cpus={actors * threads}")
    if gpus_per_client > 0:
        words.append(f"client-resources-num-gpus={gpus_per_client}")
    return " ".join(words)
