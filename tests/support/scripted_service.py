"""A local HTTP server that answers what a test says, mishaps included."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int | str, Any, dict[str, str], float]
"""Status, body (bytes, or a value that becomes JSON), headers, seconds until it comes.

Instead of a status: ``drop`` closes the connection, ``reset`` breaks it, ``cut`` sends half of what was announced,
``drip`` sends a byte every 20 ms.
"""
Usual = Answer | Callable[[Any], Answer]


class ScriptedService:
    """Answers with ``script[i]`` to request i, then with ``usual``, or what it makes of the request's JSON body."""

    def __init__(self, usual: Usual) -> None:
        self.script: list[Answer] = []
        self.usual = usual
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        """Method, path, headers and JSON body of each."""
        self.lock = threading.Lock()
        self.most_at_once = 0
        self._at_once = 0
        service = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self, body: Any) -> None:
                with service.lock:
                    service.requests.append((self.command, self.path, dict(self.headers), body))
                    service._at_once += 1
                    service.most_at_once = max(service.most_at_once, service._at_once)
                    scripted = service.script.pop(0) if service.script else service.usual
                    status, content, headers, delay = scripted(body) if callable(scripted) else scripted
                time.sleep(delay)
                with service.lock:
                    service._at_once -= 1
                self.send(status, content, headers)

            def send(self, status: int | str, content: Any, headers: dict[str, str]) -> None:
                if status == "reset":
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                if status in ("drop", "reset"):
                    self.connection.close()
                    return
                content = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status if isinstance(status, int) else 200)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if status == "drip":
                    for byte in content:
                        self.wfile.write(bytes([byte]))
                        time.sleep(0.02)
                    return
                self.wfile.write(content[: len(content) // 2] if status == "cut" else content)
                if status == "cut":
                    self.connection.close()

            def do_POST(self) -> None:
                self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def do_GET(self) -> None:
                self.answer(None)

            def log_message(self, *args: object) -> None:
                pass

            def handle(self) -> None:
                with contextlib.suppress(ConnectionError, ValueError, OSError):
                    super().handle()

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> ScriptedService:
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.shutdown()
        self.server.server_close()
