"""What a matrix would run, on the terminal."""

from __future__ import annotations

from typing import Any

import typer

from fedcrucible.comparison.execution.display import in_words
from fedcrucible.comparison.plan.explain import explained
from fedcrucible.comparison.session import SHOWN_CELLS, Preview
from fedcrucible_core.reports.statistics.spots import first_of


def print_preview(preview: Preview) -> None:
    """Cells, what stands in their way, and how long they take."""
    for one in preview.checked.impossible:
        titles = first_of([cell.title for cell in one.cells], SHOWN_CELLS)
        typer.echo(f"impossible ({len(one.cells)} cells: {titles}): {one.cause}")
    shown = [(cell, "to do") for cell in preview.todo] + [(cell, "finished") for cell in preview.finished]
    for cell, state in shown:
        typer.echo(f"{state:9} {cell.title}")
    cells = preview.checked.cells or tuple(cell for one in preview.checked.impossible for cell in one.cells)
    for title, rows in explained(preview.matrix, cells):
        if rows:
            typer.echo(f"\n{title}:")
            for key, value, reason in rows:
                typer.echo(f"  {key} = {value}: {reason}")
    same = len(preview.checked.cells) - len(shown)
    text = f"\n{len(preview.checked.cells)} cells, {len(preview.todo)} runs to do, {len(preview.finished)} finished"
    typer.echo(text + (f", {same} differ from others in labels only" if same else ""))
    if preview.todo:
        typer.echo(f"estimate: {in_words(preview.seconds)}, {_basis(preview)}")
    typer.echo(f"folder: {preview.folder}")


def preview_object(preview: Preview) -> dict[str, Any]:
    """The same for machines."""
    return {
        "title": preview.matrix.title,
        "cells": len(preview.checked.cells),
        "todo": [dict(cell.labels) for cell in preview.todo],
        "finished": [dict(cell.labels) for cell in preview.finished],
        "impossible": [
            {"cause": one.cause, "cells": [cell.title for cell in one.cells]} for one in preview.checked.impossible
        ],
        "estimated_seconds": round(preview.seconds, 1),
        "estimate_from": "finished runs" if preview.measured else "timed batches",
        "folder": str(preview.folder),
    }


def _basis(preview: Preview) -> str:
    if preview.measured:
        return "from runs that are finished"
    return "from a few timed batches; the work of attackers and rules comes on top"
