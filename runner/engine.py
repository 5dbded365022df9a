"""The in-process engine: the same ServerApp logic and ClientApp, without Ray or SuperLink."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from config.load import flatten
from runner.local_grid import LocalGrid
from server_app.plan import Plan
from server_app.record.schema import RunSummary
from server_app.run import execute
from strategies.outcome import Observer


def run_in_process(
    plan: Plan, observers: Sequence[Observer] = (), on_reply: Callable[[int, int], None] | None = None
) -> RunSummary:
    """Run a plan in this process; bit for bit what ``flwr run`` computes for the same configuration."""
    from client_app.app import app as client_app

    grid = LocalGrid(client_app, plan.config.federation.clients, flatten(plan.config), on_reply)
    return execute(plan, grid, in_order=True, observers=observers)
