"""Proxies of the environment: what goes to this machine never goes through one."""

from __future__ import annotations

from collections.abc import Mapping

LOOPBACK = ("127.0.0.1", "localhost", "::1")
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy", "ws_proxy", "wss_proxy")
"""Each also in capitals."""
EXEMPT = ("no_proxy", "NO_PROXY")
GRPC_EXEMPT = ("no_grpc_proxy", "NO_GRPC_PROXY")
"""gRPC looks here first where one is set."""


def loopback_exempt(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that keep loopback off proxies, with the user's own exemptions before ours.

    Some programs read the small name only, some the capitals only where the small one is missing: both get all entries.
    """
    chosen = dict.fromkeys(EXEMPT, _extended(environment, EXEMPT))
    if any(environment.get(name) for name in GRPC_EXEMPT):
        chosen |= dict.fromkeys(GRPC_EXEMPT, _extended(environment, GRPC_EXEMPT))
    return chosen


def proxies_set(environment: Mapping[str, str]) -> list[str]:
    """Names of the proxy variables that are set; their values may hold passwords."""
    return [name for small in PROXIES for name in (small, small.upper()) if environment.get(name)]


def not_exempt(environment: Mapping[str, str]) -> list[str]:
    """The names of loopback that a proxy would be asked for."""
    known = _entries(environment, EXEMPT)
    return [] if "*" in known else [host for host in LOOPBACK if host not in known]


def _extended(environment: Mapping[str, str], names: tuple[str, ...]) -> str:
    known = _entries(environment, names)
    return "*" if "*" in known else ",".join(dict.fromkeys([*known, *LOOPBACK]))


def _entries(environment: Mapping[str, str], names: tuple[str, ...]) -> list[str]:
    lists = (environment.get(name, "").replace(" ", ",").split(",") for name in names)
    return list(dict.fromkeys(entry for entries in lists for entry in entries if entry))
