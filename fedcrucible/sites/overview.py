"""The roster beside what the SuperLink says: who is in, who is out, and where the two disagree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fedcrucible.engines.flower.command import FlowerRunError
from fedcrucible.engines.flower.expiry import expiry_of_server
from fedcrucible.engines.flower.superlink_access import UNREGISTERED, KnownNode, SuperLinkAccess
from fedcrucible.sites.roster import Roster, Site, node_partitions

NOT_ASKED = "not asked"
UNKNOWN = "unknown"
"""The SuperLink was asked and has never heard of the key."""


@dataclass(frozen=True)
class Row:
    """One site: what the roster says, and what the SuperLink says of its key."""

    site: str
    status: str
    since_utc: str
    partition: int | None
    fingerprint: str
    superlink: str
    node_id: str
    note: str = ""


@dataclass(frozen=True)
class Overview:
    """All sites, in the order in which they came."""

    rows: tuple[Row, ...]
    strangers: tuple[str, ...] = ()
    """Fingerprints that the SuperLink lets in and that are on no roster."""
    problem: str = ""
    """Why the SuperLink could not be asked."""
    certificate: str = ""
    """What is to be said of the certificate that the SuperLink shows: it ends soon, or has ended."""
    node_partitions: str = ""
    """Value of ``federation.node_partitions``."""

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return asdict(self)

    def lines(self) -> list[str]:
        """A table for people."""
        heads = ("site", "roster", "partition", "SuperLink", "fingerprint")
        cells = [
            (r.site, r.status, "-" if r.partition is None else str(r.partition), r.superlink, r.fingerprint)
            for r in self.rows
        ]
        widths = [max(len(row[column]) for row in (heads, *cells)) for column in range(len(heads))]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in (heads, *cells)]
        lines += [f"note: {row.site}: {row.note}" for row in self.rows if row.note]
        lines += [f"note: the SuperLink lets in {one}, which is on no roster" for one in self.strangers]
        if self.problem:
            lines.append(f"note: {self.problem}")
        if self.certificate:
            lines.append(f"warn: {self.certificate}")
        if self.node_partitions:
            lines.append(f"federation.node_partitions='{self.node_partitions}'")
        return lines if self.rows else ["nobody is on the roster", *lines[1:]]


def overview(roster: Roster) -> Overview:
    """The roster and, where it remembers a SuperLink, what that says."""
    known: Mapping[str, KnownNode] | None = None
    shown = expiry_of_server(roster.superlink) if roster.superlink else None
    problem = "the roster remembers no SuperLink: name it with --superlink HOST:PORT --ca FILE"
    if roster.superlink and roster.ca:
        try:
            known, problem = SuperLinkAccess(roster.superlink, Path(roster.ca)).nodes(), ""
        except FlowerRunError as error:
            problem = str(error)
    rows = tuple(_row(site, known) for site in roster.sites)
    listed = {site.fingerprint for site in roster.sites}
    strangers = tuple(
        f"{key} ({node.name or 'no name'})"
        for key, node in (known or {}).items()
        if key not in listed and node.state != UNREGISTERED
    )
    certificate = shown.warning if shown is not None else ""
    return Overview(rows, strangers, problem, certificate, node_partitions(roster))


def _row(site: Site, known: Mapping[str, KnownNode] | None) -> Row:
    node = (known or {}).get(site.fingerprint)
    state = NOT_ASKED if known is None else node.state if node else UNKNOWN
    inside = known is not None and node is not None and node.state != UNREGISTERED
    note = ""
    if site.status == "revoked" and inside:
        note = f"revoked, but the SuperLink still lets it in: `fedcrucible site revoke {site.site}`"
    elif site.status == "approved" and known is not None and not inside:
        note = "approved, but the SuperLink doesn't let it in: approve it again"
        if node is not None:
            note = "approved, but the SuperLink has unregistered its key: revoke it and approve a new key"
    since = site.revoked_utc or site.approved_utc
    return Row(
        site.site, site.status, since, site.partition, site.fingerprint, state, node.node_id if node else "", note
    )
