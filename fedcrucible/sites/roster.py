"""Who may take part: the server's list of sites, with those that were and may not any more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.asymmetric import ec

from fedcrucible.engines.flower.node_keys import fingerprint, is_fingerprint_of, parse_public_key
from fedcrucible.sites.document import Document, read_document, write_document
from fedcrucible.sites.names import ALLOWED
from fedcrucible.sites.request import SiteRequest
from fedcrucible_core.config.errors import ConfigError, did_you_mean
from fedcrucible_core.records.lock import only_writer

LARGEST = 16 * 2**20
"""Bytes of a roster."""
LONGEST_REASON = 200


class Site(Document):
    """A site that was let in once; ``revoked`` ones stay listed, so that their keys never come back."""

    site: str
    public_key: str
    fingerprint: str
    status: Literal["approved", "revoked"]
    approved_utc: str
    revoked_utc: str = ""
    reason: str = ""
    """Why it was revoked."""
    partition: int | None = None
    """Which partition it was given in its pack."""
    versions: dict[str, str]

    @property
    def key(self) -> ec.EllipticCurvePublicKey:
        """The public key. Raises ConfigError."""
        return parse_public_key(self.public_key)


class Roster(Document):
    """Roster of sites."""

    format: Literal["fedcrucible-roster-1"] = "fedcrucible-roster-1"
    superlink: str = ""
    """HOST:PORT under which sites dial the SuperLink; remembered from the first command that names it."""
    ca: str = ""
    """Absolute path of its CA certificate."""
    sites: tuple[Site, ...] = ()


@dataclass
class OpenRoster:
    """A roster that nobody else can change meanwhile; every change is on the disk when the method returns."""

    path: Path
    roster: Roster

    def approve(self, request: SiteRequest, told: str) -> Site:
        """Let a site in whose key has the fingerprint that was read out; again for a site that is in changes nothing.

        Raises:
            ConfigError: another fingerprint, a revoked key, a key that another site has, or a name whose site has
                another key.
        """
        key = request.key
        if not is_fingerprint_of(told, key):
            allowed = (
                f"the request's key has {fingerprint(key)}: read it out again, all of it; if it still differs, "
                "somebody has exchanged the request on its way"
            )
            raise ConfigError("fingerprint", told, allowed)
        for site in self.roster.sites:
            if fingerprint(site.key) == fingerprint(key):
                return self._known(site, request)
        for site in self._approved():
            if site.site == request.site:
                allowed = (
                    f"is approved with another key, {site.fingerprint}; a new key for the same site: "
                    f"`fedcrucible site revoke {site.site}` first"
                )
                raise ConfigError("site", request.site, allowed)
        added = Site(
            site=request.site,
            public_key=request.public_key,
            fingerprint=fingerprint(key),
            status="approved",
            approved_utc=_now(),
            versions=dict(request.versions),
        )
        self._save(sites=(*self.roster.sites, added))
        return added

    def revoke(self, name: str, reason: str = "") -> Site:
        """Let a site in no more; again for one that is out changes nothing. Raises ConfigError for an unknown one."""
        site = find(self.roster, name)
        if site.status == "revoked":
            return site
        return self.change(site, status="revoked", revoked_utc=_now(), reason=reason[:LONGEST_REASON])

    def assign(self, name: str, partition: int, partitions: int) -> Site:
        """Give an approved site one of ``partitions``. Raises ConfigError where another approved site has it."""
        if not 0 <= partition < partitions:
            raise ConfigError("partition", partition, f"allowed: 0 to {partitions - 1} (--partitions {partitions})")
        site = find(self.roster, name)
        if site.status == "revoked":
            raise ConfigError("site", name, f"was revoked at {site.revoked_utc}; allowed: an approved site")
        for other in self._approved():
            if other.partition == partition and other.site != name:
                raise ConfigError("partition", partition, f"is {other.site}'s; no two sites may share one")
        return site if site.partition == partition else self.change(site, partition=partition)

    def change(self, site: Site, **values: object) -> Site:
        """Write other values of a site."""
        changed = site.model_copy(update=values)
        self._save(sites=tuple(changed if one is site else one for one in self.roster.sites))
        return changed

    def remember(self, superlink: str, ca: Path | None) -> None:
        """Keep where the SuperLink is, where that is said."""
        superlink, place = superlink or self.roster.superlink, str(ca.resolve()) if ca else self.roster.ca
        if (superlink, place) != (self.roster.superlink, self.roster.ca):
            self._save(superlink=superlink, ca=place)

    def _known(self, site: Site, request: SiteRequest) -> Site:
        if site.status == "revoked":
            allowed = f"this key was {site.site}'s and was revoked at {site.revoked_utc}; the site must make a new key"
            raise ConfigError("request", request.site, allowed)
        if site.site != request.site:
            raise ConfigError("request", request.site, f"this key is {site.site}'s already; each site makes its own")
        return site

    def _approved(self) -> Iterator[Site]:
        return (site for site in self.roster.sites if site.status == "approved")

    def _save(self, **values: object) -> None:
        self.roster = self.roster.model_copy(update=values)
        write_document(self.path, self.roster)


@contextmanager
def opened(path: Path) -> Iterator[OpenRoster]:
    """A roster to change, empty where there is no file yet.

    Raises:
        ConfigError: no readable roster.
        FolderBusyError: another command changes it now.
    """
    with only_writer(path.parent):
        yield OpenRoster(path, read_roster(path))


def read_roster(path: Path) -> Roster:
    """The roster as it is; an empty one where there is no file. Raises ConfigError."""
    return read_document(path, Roster, "roster", LARGEST) if path.exists() else Roster()


def find(roster: Roster, name: str) -> Site:
    """The site of this name that is approved, else the one that was last. Raises ConfigError."""
    found = [site for site in roster.sites if site.site == name]
    if not found:
        known = sorted({site.site for site in roster.sites})
        listed = f"{did_you_mean(name, known)}known: {', '.join(known)}" if known else f"nobody is; a name is {ALLOWED}"
        raise ConfigError("site", name, f"isn't on the roster; {listed}")
    return next((site for site in found if site.status == "approved"), found[-1])


def node_partitions(roster: Roster) -> str:
    """What ``federation.node_partitions`` is for the approved sites that have a partition; empty without any."""
    chosen = [site for site in roster.sites if site.status == "approved" and site.partition is not None]
    return ", ".join(f"{site.fingerprint}:{site.partition}" for site in sorted(chosen, key=lambda s: s.partition or 0))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
