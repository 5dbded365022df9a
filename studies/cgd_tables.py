"""A comparison of repairs of central runs, with each poisoned model trained once: CGD, its rivals, its ablations.

    python -m studies.cgd_tables cgd/table1-small --seeds 1 2 3 --out runs/cgd-table1
    python -m studies.cgd_tables cgd/table1-small --only attack=SIG --only defence=NoDef --only defence=CGD \\
        --out runs/cgd-table1

Runs the cells of a preset's ``[compare]`` table.  Cells that differ in nothing before the repair share their model, and
what scores a split is kept as in a run that may be resumed; each number is the one that ``fedcrucible compare`` gives,
bit for bit.  Finished cells stand in ``cells.csv`` and are skipped: an interrupted call goes on.  Seconds are this
process's own, of one thread: of a repair all that it asks for, its split included, but for what was kept (``--anew``
keeps nothing).  Rates are measured on the split that the preset names; no repair sees the test split.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean

import torch

from fedcrucible.comparison.plan.cell import Cell
from fedcrucible.comparison.plan.matrix import Matrix
from fedcrucible.comparison.plan.request import Options, matrix
from fedcrucible_core.config.load import load
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.learning.weights import Weights
from server_app.identity import digest
from server_app.plan import Plan
from server_app.strategy_of import strategy_of
from strategies.outcome import RoundOutcome
from strategies.population import SOLE
from strategies.repair_step import repaired

AFTERWARDS = ("repair.", "splitter.", "guide.", "synthetic.", "output.", "run.eval_every", "run.checkpoint_every")
"""Beginnings of keys that nothing depends on before the repair."""
FIELDS = ("cell", "labels", "ca", "asr", "seconds", "facts", "notes")


@dataclass(frozen=True)
class Row:
    """A finished cell: its labels, both rates (percent) after the repair, CPU seconds, the record's facts."""

    cell: str
    labels: dict[str, Scalar]
    ca: float
    asr: float
    seconds: float
    facts: dict[str, float]
    notes: tuple[str, ...]


def main() -> None:
    """Run what isn't finished; print a line for each cell and a table at the end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", help="a preset, or a file, with a [compare] table")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--only", action="append", default=[], metavar="AXIS=LABEL", help="some of an axis' labels")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings of all cells")
    parser.add_argument("--out", type=Path, required=True, help="folder of cells.csv and of the trained models")
    parser.add_argument("--anew", action="store_true", help="train what scores a split anew for each cell")
    parser.add_argument("--tabulate", action="store_true", help="run nothing; print what is finished")
    parser.add_argument("--facts", nargs="*", default=[], help="of the record, in tables of their own")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    grid = matrix(Options(preset=chosen.preset, settings=chosen.set, seeds=chosen.seeds))
    cells = picked(grid.cells(), chosen.only)
    chosen.out.mkdir(parents=True, exist_ok=True)
    done = read_rows(chosen.out)
    for number, cell in enumerate(cells, start=1):
        if cell.key not in done and not chosen.tabulate:
            row = done[cell.key] = run_cell(cell, chosen.out, keep=not chosen.anew)
            append_row(chosen.out, row)
            said = " ".join(f"{name.removeprefix('repair.')}={value:.4g}" for name, value in row.facts.items())
            print(f"[{number}/{len(cells)}] {cell.title} | CA {row.ca:.2f} ASR {row.asr:.2f}", end=" ")
            print(f"{row.seconds:.0f} s | {said} {'; '.join(row.notes)}", flush=True)
    finished = [(cell, done[cell.key]) for cell in cells if cell.key in done]
    print_table(grid, finished, _rates)
    for name in chosen.facts:
        print(f"\n{name}:")
        print_table(grid, finished, partial(_fact, name=name))
    print(f"all cells: {chosen.out / 'cells.csv'}")


def picked(cells: Sequence[Cell], only: Sequence[str]) -> list[Cell]:
    """The cells with these labels. Raises SystemExit for a label that no cell has."""
    wanted: dict[str, set[str]] = {}
    for one in only:
        axis, _, label = one.partition("=")
        known = {str(cell.labels.get(axis)) for cell in cells}
        if label not in known:
            raise SystemExit(f"--only {one}: no {label!r}; the axis {axis!r} has {', '.join(sorted(known))}")
        wanted.setdefault(axis, set()).add(label)
    return [cell for cell in cells if all(str(cell.labels[axis]) in labels for axis, labels in wanted.items())]


def run_cell(cell: Cell, folder: Path, *, keep: bool) -> Row:
    """Both rates of a cell, from a model that was trained for it or for another one that shares it."""
    settings = dict(cell.settings) | {"run.checkpoint_every": int(keep)}
    plan = Plan.make(load(settings))
    strategy = strategy_of(plan, in_order=True)
    outcome = RoundOutcome(plan.config.run.rounds + 1, stage="repair")
    started = time.process_time()
    weights = victim(plan, settings, folder / "models")
    if plan.system.repair is not None:
        started = time.process_time()
        weights = repaired(strategy.parts, SOLE, None, weights, None, outcome)
    seconds = time.process_time() - started
    weights.load_into(strategy.parts.model)
    measured = strategy.parts.evaluate(strategy.parts.model, outcome, True)
    asr = float("nan") if measured.attack is None else measured.attack.asr
    labels = dict(cell.labels)
    return Row(cell.key, labels, measured.clean.accuracy, asr, seconds, dict(outcome.facts), tuple(outcome.notes))


def victim(plan: Plan, settings: Mapping[str, Scalar], folder: Path) -> Weights:
    """The run's model before its repair: trained, or as it was trained for another cell."""
    shared = {key: value for key, value in settings.items() if not key.startswith(AFTERWARDS)}
    path = folder / f"{digest(load(shared | {'strategy': 'central'}))}.pt"
    if path.is_file():
        model = plan.model()
        model.load_state_dict(torch.load(path, weights_only=True))
        return Weights.of(model)
    model = plan.victim(plan.config.run.rounds)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), path)
    return Weights.of(model)


def append_row(folder: Path, row: Row) -> None:
    """Add a line to cells.csv."""
    path = folder / "cells.csv"
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(FIELDS)
        rates = (f"{row.ca:.4f}", f"{row.asr:.4f}", f"{row.seconds:.2f}")
        writer.writerow([row.cell, json.dumps(row.labels), *rates, json.dumps(row.facts), json.dumps(row.notes)])


def read_rows(folder: Path) -> dict[str, Row]:
    """Key of a finished cell -> its row."""
    path = folder / "cells.csv"
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        return {
            line["cell"]: Row(
                line["cell"], json.loads(line["labels"]), float(line["ca"]), float(line["asr"]),
                float(line["seconds"]), json.loads(line["facts"]), tuple(json.loads(line["notes"])),
            )
            for line in csv.DictReader(file)
        }  # fmt: skip


def print_table(grid: Matrix, finished: Sequence[tuple[Cell, Row]], shown: Callable[[Sequence[Row]], str]) -> None:
    """Markdown: systems downwards, the other axes across; a place holds what is ``shown`` of its rows, one per seed."""
    across: dict[tuple[str, ...], None] = {}
    found: dict[tuple[str, tuple[str, ...]], list[Row]] = {}
    for cell, row in finished:
        column = tuple(str(cell.labels[axis.name]) for axis in grid.axes if axis.name != grid.system_axis)
        across.setdefault(column)
        found.setdefault((str(cell.labels[grid.system_axis]), column), []).append(row)
    print("\n| " + " | ".join([grid.system_axis, *(", ".join(column) for column in across)]) + " | seconds |")
    print("| --- |" + " --- |" * (len(across) + 1))
    for system in dict.fromkeys(system for system, _ in found):
        cells = [shown(found.get((system, column), [])) for column in across]
        seconds = [row.seconds for (name, _), rows in found.items() if name == system for row in rows]
        print("| " + " | ".join([system, *cells, f"{mean(seconds):.0f}"]) + " |")


def _rates(rows: Sequence[Row]) -> str:
    """CA / ASR, means over seeds; of several the least and the largest ASR."""
    if not rows:
        return "-"
    rates = [row.asr for row in rows]
    spread = f" ({min(rates):.1f} - {max(rates):.1f})" if len(rates) > 1 else ""
    return f"{mean(row.ca for row in rows):.1f} / {mean(rates):.1f}{spread}"


def _fact(rows: Sequence[Row], name: str) -> str:
    """The mean of a fact of the record over seeds; a dash where no row has it."""
    values = [row.facts[f"repair.{name}"] for row in rows if f"repair.{name}" in row.facts]
    return f"{mean(values):.1f}" if values else "-"


if __name__ == "__main__":
    main()
