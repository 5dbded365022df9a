"""What goes to this machine never goes through a proxy, and who can't be reached is named in the first line."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from fedcrucible.engines.flower.command import FlowerRunError, write_connection
from fedcrucible.engines.flower.environment import flower_environment, project_home, shell_exports
from fedcrucible.engines.flower.output import cause
from fedcrucible.engines.flower.processes import ProcessSet
from fedcrucible.engines.flower.proxies import LOOPBACK, PROXIES, loopback_exempt, not_exempt, proxies_set
from fedcrucible.engines.flower.submission import Submission
from fedcrucible.health import network

NOWHERE = "http://127.0.0.1:9"
NAMES = [name for small in PROXIES for name in (small, small.upper())]


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*NAMES, "no_proxy", "NO_PROXY", "no_grpc_proxy", "NO_GRPC_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def service() -> Iterator[int]:
    """A port of this machine that answers."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"here")

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "127.0.0.1,localhost,::1"),
        ({"no_proxy": "corp.example"}, "corp.example,127.0.0.1,localhost,::1"),
        ({"NO_PROXY": ".corp, 10.0.0.0/8"}, ".corp,10.0.0.0/8,127.0.0.1,localhost,::1"),
        ({"no_proxy": "a", "NO_PROXY": "b,localhost"}, "a,b,localhost,127.0.0.1,::1"),
        ({"no_proxy": "*"}, "*"),
        ({"no_proxy": ""}, "127.0.0.1,localhost,::1"),
    ],
)
def test_the_user_s_exemptions_stay_and_loopback_comes_on_top(given: dict[str, str], expected: str) -> None:
    assert loopback_exempt(given) == {"no_proxy": expected, "NO_PROXY": expected}


def test_grpc_s_own_exemptions_are_extended_where_there_are_any() -> None:
    assert loopback_exempt({"no_grpc_proxy": "a"})["no_grpc_proxy"] == "a,127.0.0.1,localhost,::1"
    assert "no_grpc_proxy" not in loopback_exempt({"grpc_proxy": NOWHERE})


@pytest.mark.parametrize("client", ["requests", "httpx", "urllib"])
@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_http_clients_reach_this_machine_past_any_proxy(
    client: str, name: str, service: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, NOWHERE)
    url = f"http://127.0.0.1:{service}/"
    code = {
        "requests": f"import requests; print(requests.get({url!r}, timeout=5).text)",
        "httpx": f"import httpx; print(httpx.get({url!r}, timeout=5).text)",
        "urllib": f"import urllib.request as u; print(u.urlopen({url!r}, timeout=5).read().decode())",
    }[client]
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=flower_environment(tmp_path), capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "here", done.stderr[-300:]


def test_every_process_of_a_set_is_exempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", NOWHERE)
    monkeypatch.setenv("NO_PROXY", "corp.example")
    found = ProcessSet().environment()
    assert found["no_proxy"] == found["NO_PROXY"] == "corp.example,127.0.0.1,localhost,::1"
    assert found["https_proxy"] == NOWHERE


def test_the_shell_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", NOWHERE)
    monkeypatch.setenv("no_proxy", "corp.example")
    script = shell_exports() + "\nenv"
    lines = subprocess.run(["env", "-i", "sh", "-c", script], capture_output=True, text=True, check=True).stdout
    assert "no_proxy=corp.example,127.0.0.1,localhost,::1" in lines.splitlines()
    assert "NO_PROXY=corp.example,127.0.0.1,localhost,::1" in lines.splitlines()


@pytest.mark.parametrize(
    ("environment", "status", "words"),
    [
        ({}, "ok", "none set"),
        ({"http_proxy": "http://me:secret@proxy:3128"}, "warn", "http_proxy; no_proxy lacks 127.0.0.1, localhost, ::1"),
        ({"ALL_PROXY": NOWHERE, "no_proxy": "127.0.0.1,::1"}, "warn", "ALL_PROXY; no_proxy lacks localhost"),
        ({"HTTPS_PROXY": NOWHERE, "NO_PROXY": ",".join(LOOPBACK)}, "ok", "loopback is exempt"),
        ({"grpc_proxy": NOWHERE, "no_proxy": "*"}, "ok", "loopback is exempt"),
    ],
)
def test_the_doctor_names_proxies_but_not_their_passwords(
    environment: dict[str, str], status: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    (found,) = network.check()
    assert (found.status, words in found.detail) == (status, True), found
    assert "secret" not in found.detail
    assert bool(found.todo) == (status == "warn")


def test_what_is_set_and_what_is_missing() -> None:
    assert proxies_set({"HTTP_PROXY": NOWHERE, "https_proxy": "", "other": "x"}) == ["HTTP_PROXY"]
    assert not_exempt({}) == list(LOOPBACK)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("one\n\ntwo\n", "two"),
        ("", "it said nothing"),
        ("\x1b[31mred\x1b[0m", "red"),
        (
            "x\n╭─ Error ────╮\n│ Connection is   │\n│ unavailable.    │\n╰─────────────╯\n",
            "Connection is unavailable.",
        ),
    ],
)
def test_the_cause_is_one_line(output: str, expected: str) -> None:
    assert cause(output) == expected


def test_a_superlink_that_can_not_be_reached_is_a_cause_in_the_first_line(tmp_path: Path) -> None:
    write_connection(tmp_path / "home", "127.0.0.1:1", None)
    submission = Submission(tmp_path / "app", flower_environment(tmp_path / "home"))
    with pytest.raises(FlowerRunError) as caught:
        submission.command("ls", "private")
    first = str(caught.value).partition("\n")[0]
    assert first.startswith("`flwr ls private` failed: Connection to the SuperLink is unavailable.")


def test_outside_a_checkout_flower_s_home_is_the_user_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedcrucible.engines.flower.environment.PROJECT", tmp_path)  # writable, but no checkout
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert not project_home().is_relative_to(tmp_path / ".flwr")
    monkeypatch.setenv("FEDCRUCIBLE_CACHE", str(tmp_path / "volume"))
    assert project_home() == tmp_path / "volume" / "flwr"
    (tmp_path / "pyproject.toml").write_text("")
    assert project_home() == tmp_path / ".flwr"
    assert os.listdir(tmp_path) == ["pyproject.toml"]  # noqa: PTH208
