"""Replies that were lost though no fault was to lose them."""

from __future__ import annotations

from fedcrucible.rehearsal.fault import FAULTS, Evidence
from fedcrucible.rehearsal.grammar import Programme

COMES_AND_GOES = ("join", "back")


def strays(programme: Programme, evidence: Evidence) -> tuple[str, ...]:
    """Each lost reply that the programme doesn't explain, in words: mostly a machine too slow for the deadline."""
    found = []
    for site in range(programme.nodes):
        mine = [placed for placed in programme.faults if placed.site == site]
        if any(FAULTS[placed.kind].removes_site or placed.kind in COMES_AND_GOES for placed in mine):
            continue  # away for some rounds, and how many is what those faults are judged by
        planned = {placed.round for placed in mine}
        for number in evidence.lost(site, 1):
            if number not in planned:
                cause = evidence.cause(number, site) or "its node was not online"
                found.append(f"round {number}, client {site}: {cause}")
    return tuple(found)
