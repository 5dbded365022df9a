"""A command line in this process, and records in a folder of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from fedcrucible.cli import app

Invoke = Callable[..., Result]
TINY = ("--preset", "smoke", "strategy=fedavg", "output.report=false", "run.rounds=1")


@pytest.fixture
def fedcrucible(runs_folder: Path) -> Invoke:
    """``fedcrucible("run", "run.seed=2")``, as a shell would call it; stdout and stderr are kept apart."""
    runner = CliRunner()
    return lambda *arguments: runner.invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def no_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail as soon as any client is asked to train."""
    from fedcrucible.engines.local_grid import LocalGrid

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a client was started")

    monkeypatch.setattr(LocalGrid, "push_messages", refuse)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No network: every connection to another machine fails at once."""
    import socket

    def refuse(*_: object, **__: object) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
