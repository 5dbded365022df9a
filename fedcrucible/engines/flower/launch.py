"""Command lines of SuperLink and SuperNode: the same in a process of this machine, in a container and in a test."""

from __future__ import annotations

from pathlib import Path

from fedcrucible.engines.flower.keys import ServerCertificate

LOCAL_POLL = {"FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.1"}
"""Environment of SuperLink and SuperNodes: who starts clients asks its own SuperNode, so it may ask more often than
every second."""


def superlink_command(server: ServerCertificate, host: str, port: int, database: Path | None = None) -> list[str]:
    """A SuperLink over TLS that knows its SuperNodes by key; its state is in ``database``, or in memory without one."""
    return [
        "flower-superlink",
        *("--host", host, "--port", str(port)),
        *("--ssl-ca-certfile", str(server.authority)),
        *("--ssl-certfile", str(server.certificate)),
        *("--ssl-keyfile", str(server.key)),
        "--enable-supernode-auth",
        "--disable-runtime-dependency-installation",
        *(("--database", str(database)) if database is not None else ()),
    ]


def supernode_command(
    superlink: str, authority: Path, key: Path, config: str, port: int, *, warm: bool = False
) -> list[str]:
    """A SuperNode that dials ``superlink`` (``host:port``); ``port`` is its own, on loopback, for its clients.

    ``warm``: its clients are forked off a process that has imported PyTorch, see ``warm_clients.py``.
    """
    return [
        *(("fedcrucible", "supernode") if warm else ("flower-supernode",)),
        *("--superlink", superlink),
        *("--root-certificates", str(authority)),
        *("--auth-supernode-private-key", str(key)),
        *("--node-config", config),
        *("--host", "127.0.0.1", "--port", str(port)),
    ]
