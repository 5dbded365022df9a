"""``fedcrucible supernode``: a SuperNode whose clients are forked off a process that has imported PyTorch.

Options are ``flower-supernode``'s.  The process becomes the SuperNode itself, with the same id; what forks clients is
its child and ends with it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import NoReturn

from fedcrucible_core.config.errors import ConfigError

DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", "9094"
"""Flower's own, of a SuperNode's port for its clients."""


def become_warm_node(arguments: Sequence[str]) -> NoReturn:
    """Start what forks clients, then turn into ``flower-supernode`` with these options.

    Raises ConfigError where processes can't be forked safely, and for options that say who starts clients.
    """
    if sys.platform != "linux":
        raise ConfigError("supernode", sys.platform, "Linux; elsewhere use flower-supernode, with the same options")
    command = [sys.executable, "-m", "fedcrucible.engines.flower.warm_clients", *_of_its_port(arguments)]
    subprocess.Popen([*command, "--parent-pid", str(os.getpid())])
    os.execvp("flower-supernode", ["flower-supernode", *arguments, "--isolation", "process"])


def _of_its_port(arguments: Sequence[str]) -> list[str]:
    """How clients reach the SuperNode that has these options."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--host", default=DEFAULT_HOST)
    parser.add_argument("--port", default=DEFAULT_PORT)
    parser.add_argument("--ssl-ca-certfile")
    for refused in ("--isolation", "--superexec-auth-secret-file", "--allow-runtime-dependency-installation"):
        if any(word.partition("=")[0] == refused for word in arguments):
            raise ConfigError("supernode", refused, "not with clients kept warm; flower-supernode has it")
    known, _ = parser.parse_known_args(list(arguments))
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(known.host, known.host)
    address = ["--runtime-api-address", f"[{host}]:{known.port}" if ":" in host else f"{host}:{known.port}"]
    return address + ([] if known.ssl_ca_certfile is None else ["--root-certificates", known.ssl_ca_certfile])
