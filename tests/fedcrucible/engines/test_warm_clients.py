"""Clients that are forked off a process with PyTorch imported: as fresh as if they had been started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fedcrucible.engines.flower import warm_node
from fedcrucible_core.config.errors import ConfigError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="fedcrucible supernode runs on Linux only")

FORKS = """
import json, os, socket, sys
import numpy as np
import torch
from flwr.supercore.constant import TaskType
from flwr.supercore.exit import exit_handler
from flwr.supercore.superexec.executor import ExecutionSpec
import client_app.roles
from fedcrucible.engines.flower import warm_clients

here, there = socket.socketpair()
exit_handler.add_exit_handler(lambda: print("the parent's handler"))
np.random.seed(1)

def client(**given):
    try:
        there.sendall(b"from the client")
        heard = "talks on its parent's connection"
    except OSError:
        heard = ""
    facts = dict(
        given, argv=sys.argv, heard=heard, handlers=len(exit_handler.registered_exit_handlers), draw=np.random.random(),
        torch="torch" in sys.modules, app=[name for name in sys.modules if name.partition(".")[0] == "client_app"],
        pid=os.getpid(), torch_seed=torch.initial_seed(),
    )
    print(json.dumps(facts), flush=True)
    sys.exit(int(given["token"]))

warm_clients.run_clientapp = client
executor = warm_clients.ForkingExecutor()
for token in ("3", "4"):
    spec = ExecutionSpec(TaskType.CLIENT_APP, "127.0.0.1:1", token, True, None, False, os.getpid(), False, 7)
    executor.launch(spec)
codes = [os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(2)]
there.sendall(b"from the parent")
print(json.dumps({"codes": sorted(codes), "pid": os.getpid(), "got": here.recv(99).decode(), "app": len(
    [name for name in sys.modules if name.partition(".")[0] == "client_app"])}), flush=True)
"""


@pytest.mark.slow
def test_a_forked_client_inherits_modules_and_nothing_else() -> None:
    done = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, check=True)
    *clients, parent = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(client["token"] for client in clients) == ["3", "4"]
    for client in clients:
        assert client["argv"] == ["flwr-clientapp"]
        assert client["parent_pid"] == parent["pid"] != client["pid"]
        assert client["torch"]
        assert client["app"] == [], "the app's modules must come from the run's bundle"
        assert client["heard"] == ""
        assert client["handlers"] == 0
        assert client["torch_seed"] == clients[0]["torch_seed"], "as in a fresh process"
    assert clients[0]["draw"] != clients[1]["draw"]
    assert parent["codes"] == [3, 4]
    assert parent["got"] == "from the parent", "its own connection is as it was"
    assert parent["app"] > 0


def test_what_forks_clients_ends_with_a_killed_supernode() -> None:
    child = "import os; from fedcrucible.engines.flower.parent import end_with; end_with(os.getppid()); input()"
    parent = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {child!r}]); print(p.pid); p.wait()"
    supernode = subprocess.Popen([sys.executable, "-uc", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert supernode.stdout is not None
    forking = int(supernode.stdout.readline())
    deadline = time.monotonic() + 20
    while not _asleep(forking) and time.monotonic() < deadline:
        time.sleep(0.02)
    supernode.send_signal(signal.SIGKILL)
    supernode.wait()
    while _asleep(forking) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _asleep(forking)


def _asleep(pid: int) -> bool:
    """Whether a process waits for its input, which it does once it has tied itself to its parent."""
    try:
        return "read" in Path(f"/proc/{pid}/wchan").read_text() or "pipe" in Path(f"/proc/{pid}/wchan").read_text()
    except OSError:
        return False


@pytest.mark.parametrize(
    ("options", "address"),
    [
        ([], ["--runtime-api-address", "127.0.0.1:9094"]),
        (["--superlink", "a:1", "--port", "5"], ["--runtime-api-address", "127.0.0.1:5"]),
        (["--host=0.0.0.0", "--port=5"], ["--runtime-api-address", "127.0.0.1:5"]),
        (["--host", "::1"], ["--runtime-api-address", "[::1]:9094"]),
        (["--ssl-ca-certfile", "c"], ["--runtime-api-address", "127.0.0.1:9094", "--root-certificates", "c"]),
    ],
)
def test_the_process_becomes_the_supernode_with_one_beside_it_that_forks(
    options: list[str], address: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    became: list[list[str]] = []
    monkeypatch.setattr(subprocess, "Popen", started.append)
    monkeypatch.setattr(os, "execvp", lambda _, words: became.append(words))
    warm_node.become_warm_node(options)
    assert became == [["flower-supernode", *options, "--isolation", "process"]]
    assert started[0][3:] == [*address, "--parent-pid", str(os.getpid())]


@pytest.mark.parametrize("option", ["--isolation", "--isolation=subprocess", "--allow-runtime-dependency-installation"])
def test_options_that_say_who_starts_clients_are_refused(option: str) -> None:
    with pytest.raises(ConfigError, match=f"supernode = '{option.partition('=')[0]}'"):
        warm_node.become_warm_node([option])
