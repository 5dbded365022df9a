"""The check that containers run: success, refusal, a wrong answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from fedcrucible.deploy.healthcheck import main
from fedcrucible.engines.flower.environment import free_ports


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 503)
        self.end_headers()

    def log_message(self, *said: object) -> None:
        """Nothing on the screen."""


@pytest.fixture
def address() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_exit_codes(address: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert main([f"{address}/health"]) == 0
    assert capsys.readouterr().out == ""
    assert main([f"{address}/other"]) == 1
    assert "503" in capsys.readouterr().out
    assert main([f"http://127.0.0.1:{free_ports(1)[0]}/health"]) == 1
    assert "refused" in capsys.readouterr().out
