"""TLS with a real server on loopback: every way in which it can't be trusted has a cause of its own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from fedcrucible.engines.flower.keys import ServerCertificate, create_server_certificate
from fedcrucible.health.handshake import Handshake, shake
from fedcrucible.sites.address import Address
from tests.support.tls_server import certificate_made, serving

DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> ServerCertificate:
    return create_server_certificate(tmp_path_factory.mktemp("good"))


def _shaken(certificate: ServerCertificate, trusted: ServerCertificate | None = None) -> Handshake:
    with serving(certificate) as address:
        return shake(address, (trusted or certificate).authority.read_text())


def test_a_good_certificate_is_told_with_its_names_and_its_end(good: ServerCertificate) -> None:
    found = _shaken(good)
    assert (found.finding.status, found.trusted) == ("ok", True)
    assert found.finding.detail.startswith("certificate of localhost, 127.0.0.1, ::1, valid until 2")


def test_a_certificate_that_ends_soon_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = _shaken(certificate_made(monkeypatch, tmp_path, 360 * DAY))
    assert (found.finding.status, found.trusted) == ("warn", True)
    assert found.finding.todo.startswith("4 days left")


def test_an_expired_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = _shaken(certificate_made(monkeypatch, tmp_path, 366 * DAY))
    assert (found.finding.status, found.trusted) == ("fail", False)
    assert "has expired at 2" in found.finding.detail
    assert "clock" in found.finding.todo


def test_a_certificate_that_is_not_valid_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = _shaken(certificate_made(monkeypatch, tmp_path, -2 * DAY))
    assert found.finding.status == "fail"
    assert "is not valid from 2" in found.finding.detail
    assert "clock is slow" in found.finding.todo


def test_another_ca_is_told_by_name_and_fingerprint(tmp_path: Path, good: ServerCertificate) -> None:
    found = _shaken(good, trusted=create_server_certificate(tmp_path))
    assert (found.finding.status, found.trusted) == ("fail", False)
    assert "not by the CA of --ca ('CN=FedCrucible CA'" in found.finding.detail
    assert "ca.crt" in found.finding.todo


def test_another_name_is_told_with_the_names_that_it_has(tmp_path: Path) -> None:
    found = _shaken(create_server_certificate(tmp_path, ["superlink.example.org", "10.0.0.5"]))
    assert found.finding.detail == "the certificate is for superlink.example.org, 10.0.0.5, not for 127.0.0.1"
    assert found.certificate is not None


def test_plain_text_is_no_tls(good: ServerCertificate) -> None:
    with serving(None) as address:
        found = shake(address, good.authority.read_text())
    assert (found.finding.status, found.speaks_tls) == ("fail", False)
    assert "plain text" in found.finding.detail
    assert "--insecure" in found.finding.todo


@pytest.fixture
def hangs_up() -> Iterator[Address]:
    """A server that closes every connection at once."""
    listener = socket.create_server(("127.0.0.1", 0))

    def close_all() -> None:
        while True:
            try:
                listener.accept()[0].close()
            except OSError:
                return

    thread = threading.Thread(target=close_all, daemon=True)
    thread.start()
    yield Address("127.0.0.1", listener.getsockname()[1])
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def test_a_server_that_hangs_up_is_no_tls(hangs_up: Address, good: ServerCertificate) -> None:
    found = shake(hangs_up, good.authority.read_text())
    assert (found.finding.status, found.speaks_tls) == ("fail", False)
    assert "TLS" in found.finding.detail
