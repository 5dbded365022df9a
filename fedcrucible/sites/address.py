"""Where a SuperLink listens: HOST:PORT."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from fedcrucible_core.config.errors import ConfigError

_HOST = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
ALLOWED = "HOST:PORT, e.g. superlink.example.org:8000, 10.0.0.5:8000 or [2001:db8::5]:8000"


@dataclass(frozen=True)
class Address:
    """A host's name or IP address (without brackets), and a port from 1 to 65535."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, key: str = "superlink") -> Address:
    """HOST:PORT, an IPv6 address in brackets. Raises ConfigError."""
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65_536):
        raise ConfigError(key, text, f"allowed: {ALLOWED}")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if not _is_ip(host):
            raise ConfigError(key, text, f"allowed: {ALLOWED}")
    elif len(host) > 253 or not _HOST.fullmatch(host):
        raise ConfigError(key, text, f"allowed: {ALLOWED}")
    return Address(host, int(port))


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
