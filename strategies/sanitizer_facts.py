"""What honest clients tell of their sanitizers (``client.sanitizer``), and what a round's record makes of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from flwr.app import MetricRecord

from strategies.messages import SANITIZED

COUNTS = ("kept", "dropped", "relabelled")
"""What became of a client's samples."""
TRUTH = ("poisoned", "caught", "survivors", "clean_dropped")
"""Whom that was right about; known in simulation alone."""
SECONDS = "seconds"
"""What the work took, in the round in which it was done."""
PREFIX = "client_sanitizer."
"""Begins the names of a round's facts."""
LONGEST = 1e9
"""Seconds that are believed."""


def told(metrics: MetricRecord, most: int) -> dict[str, float]:
    """What a reply says of its client's sanitizer: numbers from 0 to ``most`` (seconds: finite); others are left out.

    A hostile client may claim anything: the numbers go to the record alone.
    """
    found = {}
    for name in (*COUNTS, *TRUTH, SECONDS):
        value = metrics.get(f"{SANITIZED}{name}")
        if (
            isinstance(value, (int, float))
            and math.isfinite(value)
            and 0 <= value <= (LONGEST if name == SECONDS else most)
        ):
            found[name] = float(value)
    return found


def round_facts(clients: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Sums over the clients of a round that told anything, and shares in percent; nothing where none did.

    ``dropped_percent`` is of all their samples, ``caught_percent`` of the poisoned ones (not called clean),
    ``clean_dropped_percent`` of the others; truth is there in simulation alone.
    """
    known = [client for client in clients if client]
    if not known:
        return {}
    names = [name for name in (*COUNTS, *TRUTH) if any(name in client for client in known)]
    total = {name: sum(client.get(name, 0.0) for client in known) for name in names}
    samples = sum(total.get(name, 0.0) for name in COUNTS)
    shares = {"dropped_percent": (total.get("dropped", 0.0), samples)}
    if "poisoned" in total:
        judged = sum(sum(client.get(name, 0.0) for name in COUNTS) for client in known if "poisoned" in client)
        shares["caught_percent"] = (total.get("caught", 0.0), total["poisoned"])
        shares["clean_dropped_percent"] = (total.get("clean_dropped", 0.0), judged - total["poisoned"])
    facts = {"clients": float(len(known))} | total
    facts |= {name: 100.0 * part / of for name, (part, of) in shares.items() if of > 0}
    return {f"{PREFIX}{name}": value for name, value in facts.items()}
