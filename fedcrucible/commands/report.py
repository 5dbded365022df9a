"""``fedcrucible report``: pages from records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from fedcrucible.failures import CommandError, clear_errors


def command(
    folders: Annotated[
        list[Path], typer.Argument(metavar="FOLDER...", help="Record folders, or folders of record folders.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="The comparison page of several records.")
    ] = Path("comparison.html"),
    title: Annotated[str, typer.Option("--title", help="Title of the comparison page.")] = "Comparison",
    sweep: Annotated[
        str,
        typer.Option("--sweep", metavar="KEY", help="Key that separates the runs, with a chart of its own."),
    ] = "",
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write report.html into a record folder anew, or one page that compares several records.

    FOLDER is a record folder, or a folder of record folders.
    """
    with clear_errors():
        from fedcrucible_core.config.extras import require

        require("server")
        found = records(folders)
        page = _single(found[0]) if len(found) == 1 else _comparison(found, title, out, sweep)
        if as_json:
            typer.echo(json.dumps({"report": str(page), "records": [str(folder) for folder in found]}))
        else:
            typer.echo(f"report: {page}")
        if open_page:
            typer.launch(page.as_uri())


def records(folders: list[Path]) -> list[Path]:
    """The record folders among and directly within ``folders``. Raises CommandError where there are none."""
    from fedcrucible_core.records.files import RUN

    found: list[Path] = []
    for folder in folders:
        if (folder / RUN).is_file():
            found.append(folder.resolve())
            continue
        within = sorted(path.parent.resolve() for path in folder.glob(f"*/{RUN}"))
        if not within:
            raise CommandError(f"{folder} is no run record, nor does it hold any", f"a record folder holds {RUN}")
        found += within
    return list(dict.fromkeys(found))


def _single(folder: Path) -> Path:
    from fedcrucible_core.reports.pages.run_report import render_report

    return render_report(folder)


def _comparison(folders: list[Path], title: str, out: Path, sweep: str) -> Path:
    from fedcrucible_core.reports.pages.records_page import Labelled, render_records

    if out.is_dir():
        raise CommandError(f"--out {out} is a folder", "name the page, e.g. --out comparison.html")
    return render_records([Labelled(folder) for folder in folders], title, out, sweep=sweep)
