"""What a rehearsal looks like on a terminal, and for programs."""

from __future__ import annotations

import textwrap

from fedcrucible.rehearsal.rehearse import Rehearsal, Row
from fedcrucible_core.config.plain_text import visible

EXPECTED, UNEXPECTED = "as documented", "UNEXPECTED"
WIDTH = 120


def printed(found: Rehearsal) -> list[str]:
    """The matrix in lines: a fault each, below it what its operator sees."""
    lines = [f"Rehearsal: {found.programme.nodes} sites, {found.programme.rounds} rounds, {found.seconds:.0f} s"]
    width = max([len("fault"), *(len(_name(row)) for row in found.rows)])
    for row in found.rows:
        lines.append(f"{_name(row):<{width}}  {_verdict(row)}  lost: {row.judgement.lost}")
        seen = visible(f"sees: {row.judgement.seen}")
        indent = " " * (width + 2)
        lines += textwrap.wrap(seen, WIDTH, initial_indent=indent, subsequent_indent=f"{indent}      ") or [indent]
    same = found.sha256 == found.counted
    lines.append(f"final model  {found.sha256}")
    lines.append(f"the same replies in one process  {'the same model' if same else f'ANOTHER MODEL, {found.counted}'}")
    lines.append(f"aggregated rounds lost  {'none' if same else 'see above'} of {found.programme.rounds}")
    lines += [visible(f"record is broken: {problem}") for problem in found.problems]
    lines += [visible(f"lost without a fault: {stray}") for stray in found.strays]
    if found.strays:
        lines.append("is this machine too slow for federation.timeout_s or federation.wait_for_clients_s?")
    if found.disk:
        lines.append(f"the full disk was {found.disk}")
    wrong = sum(not row.expected for row in found.rows)
    verdict = EXPECTED if found.expected else f"{UNEXPECTED}: {wrong} of {len(found.rows)} faults"
    return [*lines, f"verdict  {verdict}", f"record  {found.record}"]


def as_object(found: Rehearsal) -> dict[str, object]:
    """The same for programs."""
    return {
        "expected": found.expected,
        "nodes": found.programme.nodes,
        "rounds": found.programme.rounds,
        "faults": [
            {
                "fault": row.fault.kind,
                "round": row.fault.round,
                "site": row.fault.site,
                "sees": row.judgement.seen,
                "lost": row.judgement.lost,
                "expected": row.expected,
                "wrong": row.judgement.wrong,
            }
            for row in found.rows
        ],
        "sha256": found.sha256,
        "sha256_of_the_counted_replies": found.counted,
        "problems": list(found.problems),
        "lost_without_a_fault": list(found.strays),
        "full_disk": found.disk,
        "notes": list(found.notes),
        "record": str(found.record),
        "seconds": round(found.seconds, 1),
    }


def _name(row: Row) -> str:
    return str(row.fault)


def _verdict(row: Row) -> str:
    return EXPECTED if row.expected else f"{UNEXPECTED} ({row.judgement.wrong})"
