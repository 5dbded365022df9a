"""The ServerApp: the same for Flower's simulation, a deployment and the in-process engine."""

from __future__ import annotations


from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from config.load import load
from server_app.console import Console
from server_app.plan import Plan
from server_app.run import execute

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Check the configuration, run, record; prints one line per round and where the record lies."""
    plan = Plan.make(load(context.run_config))
    console = Console(plan.config.run.rounds)
    discovery = plan.config.federation.discovery
    in_order = in_simulation(grid) if discovery == "auto" else discovery == "order"
    summary = execute(plan, grid, in_order=in_order, observers=[console])
    console.finish(summary)


def in_simulation(grid: Grid) -> bool:
    """Whether nodes are virtual: simulation keeps all messages in memory, a deployment speaks HTTP."""
    return "InMemory" in type(grid).__name__
