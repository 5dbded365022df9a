"""results.md: tables, what weakens them, and everything needed to make them again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from fedcrucible.comparison.plan.explain import Groups, explained
from fedcrucible.comparison.tables.outcome import Outcome
from fedcrucible_core.reports.pages.grid import MISSING, Grid, markdown_text, mean_interval
from fedcrucible_core.reports.pages.matrix_words import legend, not_compared
from fedcrucible_core.reports.statistics.printed import beside
from fedcrucible_core.reports.statistics.rows import Row
from fedcrucible_core.reports.statistics.spots import Spot, blocks_of, first_of, labels_of, notes_by_place

WEAK_MARK, FLAW_MARK = "†", "‡"
SHOWN_CELLS = 3
"""Impossible cells that are named for one cause."""


def document(outcome: Outcome) -> str:
    """The whole file."""
    chapters = [
        [f"# {markdown_text(outcome.matrix.title)}", "", *origin(outcome)],
        *_main_tables(outcome),
        [f"- {text}" for text in remarks(outcome)],
        _notes(outcome),
        *([f"## {part.title}", "", part.note, "", part.grid.markdown()] for part in outcome.parts),
        _missing(outcome),
        _settings(outcome),
    ]
    return "\n\n".join("\n".join(chapter) for chapter in chapters if chapter) + "\n"


def main_grid(outcome: Outcome, block: Sequence[Spot], text: Callable[[Row, Spot], str]) -> Grid:
    """A row per system, a column per attack (or whatever the columns are) of one block."""
    body = []
    for system in labels_of(block):
        cells = []
        for spot in block:
            row = spot.row(system)
            cells.append(MISSING if row is None else text(row, spot))
        body.append((system, *cells))
    heads = [f"{spot.heading or 'MA / ASR'}{' ' + WEAK_MARK if spot.weak else ''}" for spot in block]
    return Grid((outcome.matrix.system_axis, *heads), tuple(body), 1)


def origin(outcome: Outcome) -> list[str]:
    """How the numbers were made."""
    found = outcome.environment
    commit = found.git_commit or "no checkout"
    commit += " with local changes" if found.git_dirty else ""
    lines = [
        f"Made by `{outcome.command}` on {found.started_utc}, commit {commit}. Settings, versions and hashes of every "
        "run stand in results.csv and manifest.json.",
    ]
    return [*lines, *(line for text in warnings(outcome) for line in ("", f"**{markdown_text(text)}**"))]


def warnings(outcome: Outcome) -> list[str]:
    """What a reader must not overlook."""
    found = []
    if outcome.failed or outcome.impossible:
        count = len(outcome.failed) + sum(len(one.cells) for one in outcome.impossible)
        found.append(f"{count} of {len(outcome.cells) + sum(len(one.cells) for one in outcome.impossible)} cells have "
                     "no numbers; the causes stand below.")  # fmt: skip
    found += not_compared(outcome.spots)
    if outcome.other_sources:
        found.append(
            f"{outcome.other_sources} runs were made by other sources of this project than those at hand "
            "(source_sha256 in results.csv). Remove their records to run them again."
        )
    if outcome.other_data:
        found.append(
            f"{outcome.other_data} runs were made from other images or labels than those that are there now "
            "(data_sha256 in results.csv). Remove their records to run them again."
        )
    return found


def remarks(outcome: Outcome) -> list[str]:
    """Where the paper's numbers come from, and what its readers should know."""
    found = []
    if outcome.paper is not None:
        found.append(f"paper: {outcome.paper.source}: {outcome.paper.title}.")
        found += outcome.paper.notes
    return [*found, *outcome.matrix.remarks]


def missing(outcome: Outcome) -> list[str]:
    """Cells without numbers, with their causes."""
    lines = [f"{cell.title}: {cause}" for cell, cause in outcome.failed]
    for found in outcome.impossible:
        lines.append(f"impossible: {first_of([cell.title for cell in found.cells], SHOWN_CELLS)}: {found.cause}")
    return lines


def setting_groups(outcome: Outcome) -> Groups:
    """Axes, explained settings and what else differs from the defaults: (key, value, reason)."""
    axes = [(name, values, "") for name, values in outcome.axes_text()]
    groups = [("Axes", axes), *explained(outcome.matrix, outcome.cells)]
    shown = {key for _, rows in groups for key, _, _ in rows}
    rest = [row for row in outcome.shared_settings() if row[0] not in shown]
    return [*groups, ("Shared by all cells, where it differs from the default", rest)]


def packages(outcome: Outcome) -> str:
    """Versions in use."""
    found = outcome.environment
    return ", ".join([f"Python {found.python}", *(f"{name} {version}" for name, version in found.packages.items())])


def _main_tables(outcome: Outcome) -> Iterator[list[str]]:
    for number, block in enumerate(blocks_of(outcome.spots)):
        lines = []
        if number == 0:
            marks = " Best values are bold" + (
                f", weak attacks bear {WEAK_MARK}." if any(s.weak for s in outcome.spots) else "."
            )
            if any(spot.standing.left_out for spot in outcome.spots):
                marks += f" {FLAW_MARK}: the reason stands above."
            lines = ["## Results", "", legend(outcome.spots, outcome.usual_seeds) + marks, ""]
        if outcome.matrix.block_axes:
            lines += [f"### {block[0].block_title}", ""]
        yield [*lines, main_grid(outcome, block, lambda row, spot: _text(outcome, row, spot)).markdown()]


def _text(outcome: Outcome, row: Row, spot: Spot) -> str:
    if row.ma is None:
        return "no number" + _paper(row)
    ma = mean_interval(row.ma, outcome.usual_seeds)
    asr = MISSING if row.asr is None else mean_interval(row.asr, outcome.usual_seeds)
    ma = f"**{ma}**" if row.label in spot.best.ma else ma
    asr = f"**{asr}**" if row.label in spot.best.asr else asr
    return f"{ma} / {asr}{' ' + FLAW_MARK if spot.aside(row) else ''}{_paper(row)}"


def _paper(row: Row) -> str:
    said = beside(row.paper, "ma", "asr")
    return f"\n*{markdown_text(said)}*" if said else ""


def _notes(outcome: Outcome) -> list[str]:
    lines = [f"- {markdown_text(line)}" for line in notes_by_place(outcome.spots)]
    return ["## What to know of single runs", "", *lines] if lines else []


def _missing(outcome: Outcome) -> list[str]:
    lines = [f"- {markdown_text(line)}" for line in missing(outcome)]
    return ["## Cells without numbers", "", *lines] if lines else []


def _settings(outcome: Outcome) -> list[str]:
    lines = ["## Settings"]
    for title, rows in setting_groups(outcome):
        if rows:
            lines += ["", f"{title}:", ""]
            lines += [f"- `{key} = {value}`{': ' + reason if reason else ''}" for key, value, reason in rows]
    return [*lines, "", packages(outcome) + "."]
