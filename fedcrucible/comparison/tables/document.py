"""results.md: tables, what weakens them, and everything needed to make them again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from fedcrucible.comparison.plan.cell import value_text
from fedcrucible.comparison.plan.explain import Groups, explained
from fedcrucible.comparison.tables.outcome import Outcome
from fedcrucible.comparison.tables.parts import parts
from fedcrucible.comparison.tables.tables import MISSING, Grid, markdown_text, mean_interval
from fedcrucible.comparison.tables.verdicts import Row, Spot
from fedcrucible_core.reports.statistics.cells import notes_of

WEAK_MARK, FLAW_MARK = "†", "‡"
MOST_PLACES = 6
"""Cells that are named for one note."""


def document(outcome: Outcome) -> str:
    """The whole file."""
    chapters = [
        [f"# {markdown_text(outcome.matrix.title)}", "", *origin(outcome)],
        *_main_tables(outcome),
        [f"- {text}" for text in remarks(outcome)],
        _findings(outcome),
        *([f"## {part.title}", "", part.note, "", part.grid.markdown()] for part in parts(outcome)),
        _missing(outcome),
        _settings(outcome),
    ]
    return "\n\n".join("\n".join(chapter) for chapter in chapters if chapter) + "\n"


def main_grid(outcome: Outcome, block: Sequence[Spot], text: Callable[[Row, Spot], str]) -> Grid:
    """A row per system, a column per attack (or whatever the columns are) of one block."""
    systems = list(dict.fromkeys(row.label for spot in block for row in spot.rows))
    body = []
    for system in systems:
        cells = []
        for spot in block:
            row = next((row for row in spot.rows if row.label == system), None)
            cells.append(MISSING if row is None else text(row, spot))
        body.append((system, *cells))
    heads = [f"{head(outcome, spot)}{' ' + WEAK_MARK if spot.weak else ''}" for spot in block]
    return Grid((outcome.matrix.system_axis, *heads), tuple(body), 1)


def blocks(found: Sequence[Spot]) -> Iterator[list[Spot]]:
    """Spots that share a table."""
    groups: dict[tuple[object, ...], list[Spot]] = {}
    for spot in found:
        groups.setdefault(tuple(spot.block.values()), []).append(spot)
    yield from groups.values()


def block_title(spot: Spot) -> str:
    """What a block holds."""
    return ", ".join(f"{name} {value_text(value)}" for name, value in spot.block.items())


def head(outcome: Outcome, spot: Spot) -> str:
    """A column's heading."""
    if spot.column is None:
        return "MA / ASR"
    short = outcome.matrix.column_axis.rpartition(".")[2]
    return spot.column_text if isinstance(spot.column, str) else f"{short} {spot.column_text}"


def legend(outcome: Outcome) -> str:
    """How to read the main tables."""
    seeds = outcome.usual_seeds
    how = "one seed" if seeds == 1 else f"mean ± half of Student's 95 % interval over {seeds} seeds"
    text = (
        f"MA / ASR in percent of the last evaluation, {how}. Best: the highest MA of a column, and its lowest ASR "
        f"among systems within {outcome.matrix.margin:g} points of that MA."
    )
    if any(spot.weak for spot in outcome.spots):
        text += " Weak attack: its undefended ASR is below 50 %, so that a low ASR of a defence says little."
    unknown = [spot for spot in outcome.spots if spot.attacked and spot.weak is None]
    if any(row.asr is not None for spot in unknown for row in spot.rows):
        text += " Where no undefended run stands beside an attack, whether it is weak isn't known."
    if any(row.flaw for spot in outcome.spots for row in spot.rows):
        text += (
            " Dead: the model's outputs aren't finite; unchanged: the final model is the initial one; no clients: "
            "no update of a client ever entered it; never attacked: the attack was to take place and didn't. "
            "Such cells are listed and never best."
        )
    return text


def place(outcome: Outcome, spot: Spot) -> str:
    """What the systems of a spot faced, in words; empty where there is but one spot."""
    parts = (block_title(spot), head(outcome, spot) if spot.column is not None else "")
    return ", ".join(part for part in parts if part)


def findings(outcome: Outcome) -> list[str]:
    """What a reader of single runs must know, with the cells that it holds for."""
    places: dict[str, list[str]] = {}
    for spot in outcome.spots:
        for row in spot.rows:
            name = ", ".join(part for part in (place(outcome, spot), row.label) if part)
            for note, seeds in notes_of(row.runs).items():
                some = "" if len(seeds) == len(row.runs) else f" (seed {', '.join(map(str, seeds))})"
                places.setdefault(note, []).append(name + some)
    return [f"{note}: {_first(named)}" for note, named in places.items()]


def _first(names: Sequence[str]) -> str:
    more = f"; and {len(names) - MOST_PLACES} more" if len(names) > MOST_PLACES else ""
    return "; ".join(names[:MOST_PLACES]) + more


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
    aside = [
        f"{', '.join(part for part in (place(outcome, spot), label) if part)} ({why})"
        for spot in outcome.spots
        for label, why in spot.standing.left_out.items()
    ]
    if aside:
        found.append(f"Listed, but not compared with others and never marked best: {_first(aside)}.")
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
        titles = "; ".join(cell.title for cell in found.cells[:3])
        more = f" and {len(found.cells) - 3} more" if len(found.cells) > 3 else ""
        lines.append(f"impossible: {titles}{more}: {found.cause}")
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
    for place, block in enumerate(blocks(outcome.spots)):
        lines = []
        if place == 0:
            marks = " Best values are bold" + (
                f", weak attacks bear {WEAK_MARK}." if any(s.weak for s in outcome.spots) else "."
            )
            if any(spot.standing.left_out for spot in outcome.spots):
                marks += f" {FLAW_MARK}: the reason stands above."
            lines = ["## Results", "", legend(outcome) + marks, ""]
        if outcome.matrix.block_axes:
            lines += [f"### {block_title(block[0])}", ""]
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
    return "" if row.paper is None else f"\n*paper {row.paper[0]:.2f} / {row.paper[1]:.2f}*"


def _findings(outcome: Outcome) -> list[str]:
    lines = [f"- {markdown_text(line)}" for line in findings(outcome)]
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
