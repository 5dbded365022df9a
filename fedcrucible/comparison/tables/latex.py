"""results.tex: the main tables for a paper, with booktabs."""

from __future__ import annotations

from collections.abc import Sequence

from fedcrucible.comparison.tables.document import FLAW_MARK, WEAK_MARK, main_grid
from fedcrucible.comparison.tables.outcome import Outcome
from fedcrucible_core.reports.pages.grid import MISSING, mean_interval
from fedcrucible_core.reports.pages.matrix_words import legend
from fedcrucible_core.reports.statistics.printed import beside
from fedcrucible_core.reports.statistics.rows import Row
from fedcrucible_core.reports.statistics.spots import Spot, blocks_of
from fedcrucible_core.reports.statistics.spread import Spread


def latex(outcome: Outcome) -> str:
    r"""One ``table`` per block; needs ``\usepackage{booktabs}``."""
    command = " ".join(outcome.command.split())
    head = f"% {command}\n% commit {outcome.environment.git_commit or 'unknown'}; \\usepackage{{booktabs}}"
    return "\n\n".join([head, *(_table(outcome, block) for block in blocks_of(outcome.spots))]) + "\n"


def _table(outcome: Outcome, block: Sequence[Spot]) -> str:
    grid = main_grid(outcome, block, lambda row, spot: _text(outcome, row, spot))
    caption = ": ".join(part for part in (outcome.matrix.title, block[0].block_title) if part)
    rows = [" & ".join([latex_escape(row[0]), *row[1:]]) + r" \\" for row in grid.rows]
    heads = " & ".join(map(latex_escape, grid.heads))
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{latex_escape(caption)}. {latex_escape(_legend(outcome))}}}",
            rf"\begin{{tabular}}{{l{'c' * (len(grid.heads) - 1)}}}",
            r"\toprule",
            heads + r" \\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _legend(outcome: Outcome) -> str:
    text = legend(outcome.spots, outcome.usual_seeds) + " Best values are bold."
    if any(spot.weak for spot in outcome.spots):
        text += f" {WEAK_MARK}: weak attack."
    aside = [why for spot in outcome.spots for why in spot.standing.left_out.values()]
    if aside:
        text += f" {FLAW_MARK}: not compared: {'; '.join(dict.fromkeys(aside))}."
    return text + (" In brackets: the paper's." if outcome.paper is not None else "")


def _text(outcome: Outcome, row: Row, spot: Spot) -> str:
    ma = _number(outcome, row.ma, row.label in spot.best.ma)
    asr = _number(outcome, row.asr, row.label in spot.best.asr)
    said = beside(row.paper, "ma", "asr").removeprefix("paper ")
    paper = f" [{latex_escape(said)}]" if said else ""
    flaw = f" {latex_escape(FLAW_MARK)}" if spot.aside(row) else ""
    return f"{ma} / {asr}{flaw}{paper}"


def _number(outcome: Outcome, found: Spread | None, marked: bool) -> str:
    if found is None:
        return MISSING
    text = latex_escape(mean_interval(found, outcome.usual_seeds))
    return rf"\textbf{{{text}}}" if marked else text


def latex_escape(text: str) -> str:
    """Text that LaTeX prints as it is, on one line: a line's end would end a comment too.

    In any font encoding, for which the straight quote needs typewriter type; a bracket at a row's beginning would be an
    option of the line's end before it.
    """
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$",
               "†": r"$^\dagger$", "‡": r"$^\ddagger$", "<": r"\textless{}", ">": r"\textgreater{}",
               "|": r"\textbar{}", '"': r"\texttt{\char34}",
               "[": "{[}", "]": "{]}"}  # fmt: skip
    return "".join(special.get(char, f"\\{char}" if char in "&%$#_{}" else char) for char in " ".join(text.split()))
