"""From this node to the SuperLink's port: its name, a proxy on the way, and whether anybody listens."""

from __future__ import annotations

import os
import socket
import time
import urllib.request

from fedcrucible.engines.flower.proxies import proxies_set
from fedcrucible.health.finding import Finding
from fedcrucible.sites.address import Address
from fedcrucible_core.config.plain_text import plain_text

GROUP = "network"
LIMIT_S = 5.0
"""Seconds to wait for a connection, for each address of the host."""


def resolve(address: Address) -> Finding:
    """Whether the SuperLink's name leads to addresses."""
    start = time.monotonic()
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        detail = f"{address.host} has no address: {_reason(error)}"
        todo = "check the spelling against the pack; ask who runs this network's DNS, or add it to /etc/hosts"
        return Finding(GROUP, "DNS", "fail", detail, todo)
    shown = ", ".join(dict.fromkeys(str(entry[4][0]) for entry in found))
    return Finding(GROUP, "DNS", "ok", f"{address.host} is {shown} ({time.monotonic() - start:.1f} s)")


def proxy(address: Address) -> Finding:
    """Whether a SuperNode would go through a proxy: these checks don't, Flower does."""
    variables = proxies_set(os.environ)
    if not variables:
        return Finding(GROUP, "proxy", "ok", "none set")
    if "https" not in urllib.request.getproxies_environment() and "all" not in urllib.request.getproxies_environment():
        return Finding(GROUP, "proxy", "ok", f"{', '.join(variables)}; none for https")
    if urllib.request.proxy_bypass(str(address)):
        return Finding(GROUP, "proxy", "ok", f"{', '.join(variables)}; {address.host} is exempt")
    detail = f"{', '.join(variables)}: the SuperNode would dial through it, the checks below dial directly"
    todo = f'where the SuperLink can be reached directly: export no_proxy="$no_proxy,{address.host}"'
    return Finding(GROUP, "proxy", "warn", detail, todo)


def reach(address: Address) -> Finding:
    """Whether something accepts connections there."""
    start = time.monotonic()
    try:
        with socket.create_connection((address.host, address.port), timeout=LIMIT_S):
            pass
    except ConnectionRefusedError:
        detail = f"{address} refuses: the machine is there, nothing listens on this port"
        todo = "is the SuperLink up, with --host 0.0.0.0 (it binds 127.0.0.1 otherwise) and this --port?"
        return Finding(GROUP, "port", "fail", detail, todo)
    except TimeoutError:
        detail = f"{address} doesn't answer within {LIMIT_S:.0f} s"
        todo = f"a firewall here or there: outgoing TCP to port {address.port} is all that a node needs"
        return Finding(GROUP, "port", "fail", detail, todo)
    except OSError as error:
        todo = "check the network of this machine: route, VPN, firewall"
        return Finding(GROUP, "port", "fail", f"{address}: {_reason(error)}", todo)
    return Finding(GROUP, "port", "ok", f"{address} is open ({time.monotonic() - start:.2f} s)")


def _reason(error: Exception) -> str:
    return plain_text(getattr(error, "strerror", None) or error) or type(error).__name__
