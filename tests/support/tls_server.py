"""A small server on loopback that speaks TLS with a certificate of choice, and answers as it is told."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fedcrucible.engines.flower import keys
from fedcrucible.engines.flower.keys import LOOPBACK, ServerCertificate, create_server_certificate
from fedcrucible.sites.address import Address


@dataclass(frozen=True)
class Answers:
    """What it says: status and body of every POST, and how far its clock is ahead; None: it tells no time."""

    status: int = 200
    body: str = ""
    ahead: timedelta | None = timedelta()


def certificate_made(
    monkeypatch: pytest.MonkeyPatch, folder: Path, ago: timedelta, names: Sequence[str] = LOOPBACK, days: int = 365
) -> ServerCertificate:
    """A CA and its server certificate as they were made some time ago, or will be."""

    class Then(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) - ago

    with monkeypatch.context() as patch:
        patch.setattr(keys, "datetime", Then)
        return create_server_certificate(folder, names, days)


@contextmanager
def serving(certificate: ServerCertificate | None, answers: Answers | None = None) -> Iterator[Address]:
    """The address of a server; without a certificate it speaks plain text."""
    said = answers or Answers()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(200, "")

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._answer(said.status, said.body)

        def _answer(self, status: int, body: str) -> None:
            self.send_response_only(status)
            if said.ahead is not None:
                self.send_header("Date", format_datetime(datetime.now(UTC) + said.ahead, usegmt=True))
            self.send_header("Content-Length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that hangs up in the middle of a handshake is what is tested."""

    server = Server(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.certificate, certificate.key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield Address("127.0.0.1", server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
