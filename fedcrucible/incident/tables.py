"""What an incident's analysis looks like on a terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import typer
from rich.markup import escape
from rich.table import Table

from fedcrucible.catalogue_text import console
from fedcrucible.incident.evidence import MEANINGS, Evidence
from fedcrucible.incident.rejudge import NOTHING_KEPT, Rejudged
from fedcrucible.incident.suspicion import REJECTED, Suspect
from fedcrucible.incident.timeline import Placed, SiteRound
from fedcrucible.incident.truth import Truth
from server_app.console import percent

LONGEST_CAUSE = 60


def print_suspects(
    evidence: Evidence, ranking: Sequence[Suspect], rejudged: Sequence[Rejudged], truth: Truth | None
) -> None:
    """The sites, the most suspicious first, with what speaks against each."""
    table = Table(title="Sites, the most suspicious first", title_justify="left", box=None, pad_edge=False)
    for name in ("site", "suspicion", "rounds", "before", "then", "rejected", "dropped"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("stands out by (rounds)")
    for name in ("truth", "TPR", "FPR") if truth is not None else ():
        table.add_column(name, no_wrap=True, justify="left" if name == "truth" else "right")
    for place, suspect in enumerate(ranking, 1):
        row = _suspect(suspect)
        if truth is not None:
            caught = truth.down_to(ranking, place)
            row.append("attacked" if suspect.site in truth.attackers else "honest")
            row += [percent(caught.tpr_percent), percent(caught.fpr_percent)]
        table.add_row(*map(escape, row), style="bold" if suspect.stands_out else "")
    console().print(table)
    sites = [suspect.site for suspect in ranking]
    _print_others(rejudged, "Rejected by other rules (rounds)", "site", sites, _share)
    for line in _verdict(ranking):
        typer.echo(line)
    if truth is not None:
        caught = truth.flagged(ranking)
        typer.echo(f"those that stand out: TPR {percent(caught.tpr_percent)}, FPR {percent(caught.fpr_percent)}")
        typer.echo("TPR, FPR: of excluding all sites down to that line")
    _print_notes(evidence, rejudged)


def _suspect(suspect: Suspect) -> list[str]:
    rounds = "-" if suspect.since is None else f"{suspect.since} to {suspect.until}"
    reasons = ", ".join(f"{name} ({times})" for name, times in suspect.reasons)
    return [
        str(suspect.site),
        f"{suspect.suspicion:.1f}",
        rounds,
        number(suspect.before, "{:+.1f}"),
        f"{suspect.during:+.1f}" if suspect.since is not None else "-",
        f"{suspect.rejected} of {suspect.judged}",
        str(suspect.dropped),
        reasons or "-",
    ]


def _verdict(ranking: Sequence[Suspect]) -> list[str]:
    out = [suspect for suspect in ranking if suspect.stands_out]
    if not out:
        return ["no site stands out"]
    lines = []
    for suspect in out:
        if suspect.before is None:
            known = "as long as it is known: poison from the start looks like this, and so do data of another kind"
        else:
            known = f"before it did by {suspect.before:+.1f} deviations, then by {suspect.during:+.1f}"
        lines.append(f"site {suspect.site} stands out since round {suspect.since}: {known}")
    return lines


def print_timeline(evidence: Evidence, site: int, rows: Sequence[SiteRound], rejudged: Sequence[Rejudged]) -> None:
    """One site's rounds."""
    names = sorted({name for row in rows for name in row.diagnostics})
    table = Table(title=f"Site {site}", title_justify="left", box=None, pad_edge=False)
    for name in ("round", "weight", "examples", "norm", "score", "cosine", *names):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict")
    for row in rows:
        numbers = [number(row.diagnostics.get(name), "{:.3g}") for name in names]
        cells = [
            str(row.round),
            "-" if row.weight is None else f"{100 * row.weight:.1f} %",
            number(row.examples, "{:.0f}"),
            *(_placed(each) for each in (row.norm, row.score, row.cosine)),
            *numbers,
            row.verdict if len(row.verdict) <= LONGEST_CAUSE else row.verdict[: LONGEST_CAUSE - 3] + "...",
        ]
        table.add_row(*map(escape, cells), style="bold" if row.verdict == REJECTED else "")
    console().print(table)
    rounds = [row.round for row in rows]
    _print_others(
        rejudged, "Its weight under other rules", "round", rounds, lambda of, number: of.verdict(number, site)
    )
    typer.echo("in brackets: the site's place among all of the round, 1 = the largest")
    _print_notes(evidence, rejudged)


def _print_others(
    rejudged: Sequence[Rejudged], title: str, what: str, numbers: Sequence[int], cell: Callable[[Rejudged, int], str]
) -> None:
    """A column for each rule that can judge the kept diagnostics."""
    usable = [of for of in rejudged if not of.impossible]
    if not usable:
        return
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in (what, *(of.rule for of in usable)):
        table.add_column(name, justify="right", no_wrap=True)
    for each in numbers:
        table.add_row(str(each), *(cell(of, each) for of in usable))
    console().print(table)


def _print_notes(evidence: Evidence, rejudged: Sequence[Rejudged]) -> None:
    if not evidence.kept:
        typer.echo(f"note: {NOTHING_KEPT}; only the rule's own numbers are known")
    run, rule = evidence.run, evidence.run.run.rule
    if "number of attackers" in run.run.knowledge.get(rule, ()) and run.config.get("defense.assumed_malicious") == -1:
        typer.echo(f"note: rule {rule} itself was told the true number of attackers (defense.assumed_malicious = -1)")
    for of in rejudged:
        if of.impossible and of.impossible != NOTHING_KEPT:
            typer.echo(f"note: {of.rule} can't judge again: it {of.impossible}")
        if of.failures:
            first, cause = next(iter(of.failures.items()))
            typer.echo(f"note: {of.rule} can't judge {len(of.failures)} of the rounds, e.g. round {first}: {cause}")
    typer.echo("words: " + "; ".join(f"{name} = {meaning}" for name, meaning in MEANINGS.items()))


def _placed(placed: Placed) -> str:
    if placed.place is None:
        return number(placed.value, "{:.3g}")
    return f"{number(placed.value, '{:.3g}')} ({placed.place} of {placed.of})"


def _share(of: Rejudged, site: int) -> str:
    found = of.rejections.get(site)
    return "-" if found is None else f"{found[0]} of {found[1]}"


def number(value: float | None, form: str) -> str:
    """A number, or a dash where it isn't known."""
    if value is None:
        return "-"
    return form.format(value) if math.isfinite(value) else str(value)
