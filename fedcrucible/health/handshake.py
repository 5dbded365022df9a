"""TLS with the SuperLink, verified as a SuperNode verifies it; where that fails, why, from the certificate itself."""

from __future__ import annotations

import contextlib
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtensionOID

from fedcrucible.engines.flower.expiry import SOON
from fedcrucible.engines.flower.node_keys import grouped
from fedcrucible.health.dialling import GROUP, LIMIT_S
from fedcrucible.health.finding import Finding
from fedcrucible.sites.address import Address
from fedcrucible_core.config.plain_text import error_text, plain_text

EXPIRED, NOT_YET, SELF_SIGNED, UNKNOWN_ISSUER, WRONG_NAME = (10,), (9,), (18, 19), (2, 7, 20, 21), (62, 64)
"""Causes by OpenSSL's numbers (``X509_V_ERR_...``)."""
MOST_NAMES = 6


@dataclass(frozen=True)
class Handshake:
    """What came of it: the finding, whether the connection can be trusted, and the server's certificate."""

    finding: Finding
    trusted: bool = False
    certificate: x509.Certificate | None = None
    speaks_tls: bool = True


def trusting(ca_pem: str) -> ssl.SSLContext:
    """A context that trusts one CA, as Flower makes it. Raises ssl.SSLError for what is no certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=ca_pem)
    return context


def unverified() -> ssl.SSLContext:
    """A context that trusts nobody and asks for no proof: to look at a certificate, never to send anything."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def shake(address: Address, ca_pem: str) -> Handshake:
    """One handshake; after one that failed another that only looks."""
    try:
        certificate = _certificate(address, trusting(ca_pem))
    except ssl.SSLCertVerificationError as error:
        return _distrusted(address, ca_pem, error)
    except (ssl.SSLError, OSError) as error:
        return _no_tls(address, error)
    return Handshake(_valid(certificate), trusted=True, certificate=certificate)


def _certificate(address: Address, context: ssl.SSLContext) -> x509.Certificate:
    with (
        socket.create_connection((address.host, address.port), timeout=LIMIT_S) as plain,
        context.wrap_socket(plain, server_hostname=address.host) as wrapped,
    ):
        found = wrapped.getpeercert(binary_form=True)
    if found is None:
        raise ssl.SSLError("the server shows no certificate")
    return x509.load_der_x509_certificate(found)


def _valid(certificate: x509.Certificate) -> Finding:
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    detail = f"certificate of {_names(certificate)}, valid until {_day(certificate.not_valid_after_utc)}"
    if left < SOON:
        todo = (
            f"{left.days} days left: the server needs a new certificate, and every node the ca.crt that comes with it"
        )
        return Finding(GROUP, "TLS", "warn", detail, todo)
    return Finding(GROUP, "TLS", "ok", detail)


def _distrusted(address: Address, ca_pem: str, error: ssl.SSLCertVerificationError) -> Handshake:
    certificate = None
    with contextlib.suppress(OSError, ValueError):
        certificate = _certificate(address, unverified())
    detail, todo = _cause(address, ca_pem, error, certificate)
    return Handshake(Finding(GROUP, "TLS", "fail", detail, todo), certificate=certificate)


def _cause(
    address: Address, ca_pem: str, error: ssl.SSLCertVerificationError, certificate: x509.Certificate | None
) -> tuple[str, str]:
    """What is wrong with the server's certificate, and what to do."""
    number = error.verify_code
    names = _names(certificate) if certificate else "names that can't be read"
    if number in WRONG_NAME:
        return (
            f"the certificate is for {names}, not for {address.host}",
            "dial one of these names (as the pack says), or give the server a certificate with this one: --names",
        )
    if number in EXPIRED:
        ended = f"at {_day(certificate.not_valid_after_utc)}" if certificate else ""
        return (
            f"the certificate (or its CA's) has expired {ended}; it is {_day(datetime.now(UTC))} here",
            "if this machine's clock is right, the server needs a new certificate, and the node its ca.crt",
        )
    if number in NOT_YET:
        begins = f"from {_day(certificate.not_valid_before_utc)} on" if certificate else "yet"
        return (
            f"the certificate is not valid {begins}; it is {_day(datetime.now(UTC))} here",
            "this machine's clock is slow, or the one that made the certificate was fast: compare both with a third",
        )
    if number in (*SELF_SIGNED, *UNKNOWN_ISSUER):
        return (
            f"the certificate is not by the CA of --ca ({_own(ca_pem)}) but by {_issuer(certificate)}",
            "ask the server for its ca.crt (its fingerprint over the telephone): it is a newer one, or --ca is "
            "a wrong one; or somebody stands between: a proxy that opens TLS shows a certificate of its own",
        )
    return f"the certificate is refused: {plain_text(error.verify_message)}", "show this line to who runs the server"


def _no_tls(address: Address, error: Exception) -> Handshake:
    if _speaks_plainly(address):
        detail = f"{address} answers in plain text: no encryption, and no proof who it is"
        todo = (
            "the SuperLink was started with --insecure, or this is another program's port: don't connect a node to it"
        )
    elif isinstance(error, ssl.SSLError):
        detail, todo = f"no TLS: {plain_text(error.reason or error)}", "is this the SuperLink's port?"
    else:
        detail = f"the connection ends before TLS begins: {error_text(error)}"
        todo = "is this the SuperLink's port? A firewall or proxy in between may cut it"
    return Handshake(Finding(GROUP, "TLS", "fail", detail, todo), speaks_tls=False)


def _speaks_plainly(address: Address) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((address.host, address.port), timeout=LIMIT_S) as plain:
        plain.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        return plain.recv(5) == b"HTTP/"
    return False


def _names(certificate: x509.Certificate) -> str:
    try:
        found = certificate.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
        assert isinstance(found, x509.SubjectAlternativeName)
        names = [str(name.value) for name in found]
    except (x509.ExtensionNotFound, ValueError):
        return "no name at all (no subjectAltName)"
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(plain_text(name, 100) for name in names[:MOST_NAMES]) + more


def _issuer(certificate: x509.Certificate | None) -> str:
    return f"{plain_text(certificate.issuer.rfc4514_string())!r}" if certificate else "somebody who can't be read"


def _own(ca_pem: str) -> str:
    """The CA's name and the start of its fingerprint: two CAs may share a name."""
    found = x509.load_pem_x509_certificates(ca_pem.encode())[0]
    return f"{plain_text(found.subject.rfc4514_string())!r}, {grouped(found.fingerprint(hashes.SHA256()))[:19]} ..."


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
