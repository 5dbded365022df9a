"""The ServerApp: the same for Flower's simulation, a deployment and the in-process engine."""

from __future__ import annotations

import time

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.blind import BLIND, server_settings
from fedcrucible_core.config.json_log import wanted
from fedcrucible_core.config.load import load
from fedcrucible_core.config.plain_text import error_text, plain_text
from fedcrucible_core.records.schema import RunSummary
from server_app.console import Console
from server_app.plan import Plan
from server_app.run import execute
from strategies.exchange import in_simulation
from strategies.nodes import TooFewNodesError


class DegradedRunError(RuntimeError):
    """A run whose record is whole, but in which fewer sites replied than were required: Flower calls it failed."""

    def __init__(self, summary: RunSummary) -> None:
        of = f"{summary.rounds_degraded} of {summary.rounds} rounds"
        super().__init__(f"degraded: {of} missed federation.quorum or federation.required; record: {summary.folder}")


app = ServerApp()
LONGEST_ERROR = 4000
"""Characters of a line that says why a run can't start."""
REGISTRATION_S = 3.0
"""Seconds without another SuperNode after which a simulation is taken to have them all."""


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Check the configuration, run, record; prints one line per round and where the record lies.

    Nothing of a blind run but its end.  Whatever fails the run is printed as one line: a setting that can't be used and
    too few usable nodes before any client works, the server's own data before round 1, a full disk when it is full.
    """
    try:
        plan = Plan.make(load(server_settings(context.run_config)))
        if plan.config.federation.blind and in_simulation(grid):
            raise ConfigError(BLIND, True, "a simulation's nodes are all this machine; use a deployment, or in-process")
        if in_simulation(grid) and plan.system.rule is not None:
            require_supernodes(grid, plan.config.federation.clients)
        console = Console(plan.config.run.rounds)
        discovery = plan.config.federation.discovery
        in_order = in_simulation(grid) if discovery == "auto" else discovery == "order"
        blind = plan.config.federation.blind  # whoever reaches the SuperLink can read what is printed here
        people = [] if blind or wanted(plan.config.output.log) else [console]
        summary = execute(plan, grid, in_order=in_order, observers=people, flower_run=context.run_id)
    except Exception as error:
        ours = isinstance(error, (ConfigError, TooFewNodesError))
        if ours or not wanted(str(context.run_config.get("output.log", ""))):  # a JSON log has told it
            print(f"error: {(plain_text if ours else error_text)(error, LONGEST_ERROR)}", flush=True)
        raise
    if people:
        console.finish(summary)
    elif blind:
        print("blind run: what it came to stands in its record", flush=True)
    if summary.status == "degraded":
        degraded = DegradedRunError(summary)
        print(f"error: {plain_text(degraded, LONGEST_ERROR)}", flush=True)
        raise degraded


def require_supernodes(grid: Grid, clients: int) -> None:
    """Raise ConfigError when a simulation was started with fewer SuperNodes than clients.

    ``flwr run`` knows nothing of ``federation.clients`` and starts two unless told otherwise.
    """
    seen, since = 0, time.monotonic()
    while (found := len(list(grid.get_node_ids()))) < clients:
        if found > seen:
            seen, since = found, time.monotonic()
        elif found and time.monotonic() - since > REGISTRATION_S:
            raise ConfigError(
                "federation.clients",
                clients,
                f"this simulation has only {found} SuperNodes; start it with "
                f"--federation-config 'num-supernodes={clients} client-resources-num-cpus=1'",
            )
        time.sleep(0.1)
