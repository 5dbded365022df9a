"""``fedcrucible incident``: which site sent what, and who looks guilty since when."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedcrucible.failures import clear_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedcrucible.incident.rejudge import Rejudged
    from fedcrucible.incident.suspicion import Suspect
    from fedcrucible.incident.truth import Truth


def command(
    record: Annotated[Path, typer.Argument(metavar="RECORD", help="A run's record folder, finished or not.")],
    site: Annotated[
        int | None, typer.Option("--site", min=0, metavar="K", help="One site (partition): its timeline.")
    ] = None,
    rules: Annotated[
        str,
        typer.Option("--rules", metavar="NAMES", help="Other rules that judge the rounds again, by commas; or all."),
    ] = "",
    assume: Annotated[
        int | None,
        typer.Option(
            "--assume", min=0, metavar="F", help="Attackers a round that such rules assume; else as the run's settings."
        ),
    ] = None,
    truth: Annotated[
        bool, typer.Option("--truth", help="Show who really attacked, and TPR and FPR of the ranking, beside it.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say which sites of a run look guilty and since when, or what one site sent in every round.

    The ranking is made of what sites sent and of what became of it, never of who really attacked. With
    output.diagnostics=geometry in the run other rules judge the same updates again.
    """
    with clear_errors():
        from fedcrucible_core.config.extras import require

        require("server")
        from fedcrucible.incident import tables
        from fedcrucible.incident.evidence import gather
        from fedcrucible.incident.rejudge import chosen_rules, rejudge
        from fedcrucible.incident.suspicion import suspects
        from fedcrucible.incident.timeline import timeline
        from fedcrucible.incident.truth import Truth

        evidence = gather(record)
        names = chosen_rules(rules, evidence.run.run.rule)
        if site is not None:
            evidence.require_site(site)
        again = rejudge(evidence, names, assume)
        if site is not None:
            rows = timeline(evidence, site, again)
            if as_json:
                from dataclasses import asdict

                _print_json({"site": site, "rounds": [asdict(row) for row in rows], "rules": _rules(again)})
            else:
                tables.print_timeline(evidence, site, rows, again)
            return
        ranking = suspects(evidence)
        known = Truth.of(evidence) if truth else None
        if as_json:
            _print_json(_ranking(ranking, again, known))
        else:
            tables.print_suspects(evidence, ranking, again, known)


def _ranking(ranking: Sequence[Suspect], again: Sequence[Rejudged], truth: Truth | None) -> dict[str, Any]:
    from dataclasses import asdict

    sites = [asdict(suspect) | {"stands_out": suspect.stands_out} for suspect in ranking]
    found: dict[str, Any] = {"sites": sites, "rules": _rules(again)}
    if truth is not None:
        caught = truth.flagged(ranking)
        found["truth"] = {"attackers": sorted(truth.attackers), "TPR": caught.tpr_percent, "FPR": caught.fpr_percent}
    return found


def _rules(again: Sequence[Rejudged]) -> list[dict[str, Any]]:
    return [
        {
            "rule": of.rule,
            "impossible": of.impossible,
            "rejected": {str(site): counts[0] for site, counts in of.rejections.items()},
            "judged": {str(site): counts[1] for site, counts in of.rejections.items()},
            "failures": {str(number): cause for number, cause in of.failures.items()},
        }
        for of in again
    ]


def _print_json(content: dict[str, Any]) -> None:
    """One object; numbers that aren't finite are null, for JSON has none."""
    typer.echo(json.dumps(_finite(content)))


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if value - value == 0.0 else None
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    return value
