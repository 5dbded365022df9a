"""What a matrix would run, on the terminal."""

from __future__ import annotations

from typing import Any

import typer

from fedcrucible.comparison.execution.display import in_words
from fedcrucible.comparison.plan.explain import explained
from fedcrucible.comparison.session import SHOWN_CELLS, Preview
from fedcrucible_core.reports.statistics.spots import first_of


def print_preview(found: Preview) -> None:
    """Cells, what stands in their way, and how long they take."""
    for one in found.checked.impossible:
        titles = first_of([cell.title for cell in one.cells], SHOWN_CELLS)
        typer.echo(f"impossible ({len(one.cells)} cells: {titles}): {one.cause}")
    shown = [(cell, "to do") for cell in found.todo] + [(cell, "finished") for cell in found.finished]
    for cell, state in shown:
        typer.echo(f"{state:9} {cell.title}")
    cells = found.checked.cells or tuple(cell for one in found.checked.impossible for cell in one.cells)
    for title, rows in explained(found.matrix, cells):
        if rows:
            typer.echo(f"\n{title}:")
            for key, value, reason in rows:
                typer.echo(f"  {key} = {value}: {reason}")
    same = len(found.checked.cells) - len(shown)
    text = f"\n{len(found.checked.cells)} cells, {len(found.todo)} runs to do, {len(found.finished)} finished"
    typer.echo(text + (f", {same} differ from others in labels only" if same else ""))
    if found.todo:
        typer.echo(f"estimate: {in_words(found.seconds)}, {_basis(found)}")
    typer.echo(f"folder: {found.folder}")


def preview_object(found: Preview) -> dict[str, Any]:
    """The same for machines."""
    return {
        "title": found.matrix.title,
        "cells": len(found.checked.cells),
        "todo": [dict(cell.labels) for cell in found.todo],
        "finished": [dict(cell.labels) for cell in found.finished],
        "impossible": [
            {"cause": one.cause, "cells": [cell.title for cell in one.cells]} for one in found.checked.impossible
        ],
        "estimated_seconds": round(found.seconds, 1),
        "estimate_from": "finished runs" if found.measured else "timed batches",
        "folder": str(found.folder),
    }


def _basis(found: Preview) -> str:
    if found.measured:
        return "from runs that are finished"
    return "from a few timed batches; the work of attackers and rules comes on top"
