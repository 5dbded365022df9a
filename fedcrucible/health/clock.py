"""This machine's clock against the SuperLink's: Flower refuses signatures that are too old or from the future."""

from __future__ import annotations

import http.client
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from fedcrucible.health.dialling import LIMIT_S
from fedcrucible.health.finding import Finding
from fedcrucible.sites.address import Address
from fedcrucible_core.config.plain_text import error_text

GROUP = "clock"
TODO = "set this machine's clock by NTP (timedatectl set-ntp true); if it is right, tell who runs the server"
MOST_AHEAD_S, MOST_BEHIND_S = 5.0, 305.0
"""Flower 1.41 lets a node in whose signed time is within these of the SuperLink's; anything else is HTTP 401."""
NEARLY = 0.4
"""From this share of the limit on it is a warning."""
GRAIN_S = 1.0
"""The server's time is told in whole seconds."""


def compare(address: Address, context: ssl.SSLContext, *, trusted: bool) -> Finding:
    """The difference, by the ``Date`` of the SuperLink's answer."""
    before = datetime.now(UTC)
    try:
        there = _date(address, context)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Finding(GROUP, "skew", "warn", f"can't be known, the server tells no time: {error_text(error)}", TODO)
    after = datetime.now(UTC)
    return judge(there, before, after, trusted=trusted)


def judge(there: datetime, before: datetime, after: datetime, *, trusted: bool = True) -> Finding:
    """The finding for a server that said ``there`` (cut to a second) between two moments here."""
    ahead = _least(before - (there + timedelta(seconds=GRAIN_S)), after - there)
    whose = "the server's" if trusted else "that of a server whose certificate isn't trusted"
    if ahead == 0.0:
        return Finding(GROUP, "skew", "ok", f"within {GRAIN_S + (after - before).total_seconds():.1f} s of {whose}")
    detail = f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} {whose}"
    limit = MOST_AHEAD_S if ahead > 0 else MOST_BEHIND_S
    if abs(ahead) >= limit:
        return Finding(GROUP, "skew", "fail", f"{detail}: the SuperLink refuses from {limit:.0f} s on", TODO)
    status = "warn" if abs(ahead) >= NEARLY * limit else "ok"
    return Finding(GROUP, "skew", status, detail, TODO if status == "warn" else "")  # type: ignore[arg-type]


def _least(low: timedelta, high: timedelta) -> float:
    """Seconds that this clock is ahead at least (below 0: behind); 0 where the two may agree."""
    if low.total_seconds() > 0:
        return low.total_seconds()
    return min(0.0, high.total_seconds())


def _date(address: Address, context: ssl.SSLContext) -> datetime:
    connection = http.client.HTTPSConnection(address.host, address.port, timeout=LIMIT_S, context=context)
    try:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        told = answer.getheader("Date")
    finally:
        connection.close()
    if told is None:
        raise ValueError("no Date in its answer")
    moment = parsedate_to_datetime(told[:60])
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
