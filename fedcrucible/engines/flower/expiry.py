"""Until when a SuperLink's certificate is valid: read from its file, or from what it shows to whoever connects."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from fedcrucible_core.config.plain_text import plain_text

SOON = timedelta(days=30)
"""A certificate that ends within this is worth a word."""
LIMIT_S = 5.0
"""Seconds to wait for the SuperLink."""
RENEW = "make a new one with the server stopped, and give every node the ca.crt that comes with it"


@dataclass(frozen=True)
class Expiry:
    """A certificate's end."""

    ends: datetime
    serial: int
    """Its own number: two certificates never share one."""

    @classmethod
    def of(cls, certificate: x509.Certificate) -> Expiry:
        """Of one certificate."""
        return cls(certificate.not_valid_after_utc, certificate.serial_number)

    @property
    def days_left(self) -> int:
        """Whole days from now on, below 0 where it has expired."""
        return (self.ends - datetime.now(UTC)).days

    @property
    def expired(self) -> bool:
        """Whether no node that connects from now on trusts it."""
        return self.ends <= datetime.now(UTC)

    @property
    def warning(self) -> str:
        """What an operator must know; empty while more than 30 days are left."""
        when = f"{self.ends:%Y-%m-%d %H:%M} UTC"
        if self.expired:
            return f"the server's certificate has expired at {when}: no node can connect any more; {RENEW}"
        if self.ends - datetime.now(UTC) < SOON:
            return f"the server's certificate ends at {when}, {self.days_left} days left: {RENEW}"
        return ""


def expiry_of_file(path: Path) -> Expiry | None:
    """Of the first certificate in a PEM file; None where there is none that can be read."""
    try:
        return Expiry.of(x509.load_pem_x509_certificates(path.read_bytes())[0])
    except (OSError, ValueError):
        return None


def expiry_of_server(address: str) -> Expiry | None:
    """Of the certificate that HOST:PORT shows; None where nobody answers with one.

    Looks and trusts nothing, so an expired one is told too.
    """
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((host, int(port)), timeout=LIMIT_S) as plain,
            context.wrap_socket(plain, server_hostname=host) as wrapped,
        ):
            shown = wrapped.getpeercert(binary_form=True)
        return Expiry.of(x509.load_der_x509_certificate(shown)) if shown else None
    except (OSError, ValueError):
        return None


def certificate_notes(path: Path, address: str) -> list[str]:
    """What an operator must know of the certificate in a file and of the one that is shown at HOST:PORT."""
    kept, shown = expiry_of_file(path), expiry_of_server(address)
    notes = [one.warning for one in (shown or kept,) if one is not None and one.warning]
    if kept is not None and shown is not None and kept.serial != shown.serial:
        name = plain_text(path.name)
        notes.append(f"the SuperLink shows another certificate than {name}: restart both it and the nodes")
    return notes
