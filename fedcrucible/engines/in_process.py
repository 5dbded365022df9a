"""The in-process engine: the same ServerApp logic and ClientApp, without Ray or SuperLink."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from fedcrucible.engines.hidden_settings import told_to_clients
from fedcrucible.engines.local_grid import LocalGrid
from fedcrucible_core.records.schema import RunSummary
from server_app.plan import Plan
from server_app.run import execute
from strategies.outcome import Observer


def run_in_process(
    plan: Plan,
    observers: Sequence[Observer] = (),
    on_reply: Callable[[int, int], None] | None = None,
    on_folder: Callable[[Path], None] | None = None,
) -> RunSummary:
    """Run a plan in this process; bit for bit what ``flwr run`` computes for the same configuration.

    ``on_reply(done, total)`` is called after each client of a round, ``on_folder`` once with the record's folder.
    """
    from client_app.app import app as client_app

    with told_to_clients(plan.config) as (settings, node_configs):
        grid = LocalGrid(client_app, plan.config.federation.clients, settings, on_reply, node_configs)
        return execute(plan, grid, in_order=True, observers=observers, on_folder=on_folder)
