"""All that a node can find out before it first connects, each check with cause and fix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedcrucible.health import clock, dialling, handshake, node_key, pinned, site_data
from fedcrucible.health.finding import Finding
from fedcrucible.sites.address import Address
from fedcrucible.sites.pack import SitePack
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.config.plain_text import error_text


@dataclass(frozen=True)
class Flight:
    """What is to be checked; what is None is told as not checked."""

    address: Address
    ca_pem: str
    key: Path | None = None
    config: RunConfigBase | None = None
    """With ``task.data_dir``, the node's data folder."""
    examples: int = 0
    """Of how many examples the local epoch is; 0 = none."""
    pack: SitePack | None = None


def check(flight: Flight) -> list[Finding]:
    """Every check; one that breaks is itself a finding. A check that needs an earlier one that failed says so."""
    found: list[Finding] = []
    for name, part in (("connection", _connection), ("versions", _versions), ("data", _data)):
        found += _kept(name, part, flight)
    return found


def _kept(name: str, part: Callable[[Flight], Sequence[Finding]], flight: Flight) -> Sequence[Finding]:
    try:
        return part(flight)
    except Exception as error:
        return [
            Finding(name, "check", "fail", error_text(error, 500), "please report this line: it is a fault of ours")
        ]


def _connection(flight: Flight) -> list[Finding]:
    address = flight.address
    found = [dialling.resolve(address), dialling.proxy(address)]
    if found[0].status == "ok":
        found.append(dialling.reach(address))
    shaken = handshake.shake(address, flight.ca_pem) if found[-1].name == "port" and found[-1].status == "ok" else None
    if shaken is None:
        found.append(_skipped(dialling.GROUP, "TLS", "needs an open port"))
    else:
        found.append(shaken.finding)
    if shaken is None or not shaken.speaks_tls:
        found.append(_skipped(clock.GROUP, "skew", "needs a server that speaks TLS"))
    else:
        context = handshake.trusting(flight.ca_pem) if shaken.trusted else handshake.unverified()
        found.append(clock.compare(address, context, trusted=shaken.trusted))
    return [*found, *_key(flight, trusted=shaken is not None and shaken.trusted)]


def _key(flight: Flight, *, trusted: bool) -> list[Finding]:
    if flight.key is None:
        return [_skipped(node_key.GROUP, "file", "name it with --key")]
    found, key = node_key.examine(flight.key)
    if key is None:
        return found
    if flight.pack is not None:
        found += node_key.belongs(key, flight.pack.key_fingerprint)
    if not trusted:
        return [*found, _skipped(node_key.GROUP, "registered", "needs a server that can be trusted, see TLS above")]
    return [*found, node_key.registered(flight.address, flight.ca_pem, key)]


def _versions(flight: Flight) -> list[Finding]:
    return pinned.compare(flight.pack)


def _data(flight: Flight) -> list[Finding]:
    if flight.config is None:
        return [_skipped(site_data.GROUP, "folder", "name it with --data")]
    return site_data.examine(flight.config, flight.examples)


def _skipped(group: str, name: str, why: str) -> Finding:
    return Finding(group, name, "warn", f"not checked: {why}")
