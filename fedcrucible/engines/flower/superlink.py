"""A SuperLink for simulations that belongs to this process alone and leaves nothing behind."""

from __future__ import annotations

import ssl
import subprocess
import time

import httpx

from fedcrucible.engines.flower.app_folder import stage_app
from fedcrucible.engines.flower.command import FlowerRunError, write_connection
from fedcrucible.engines.flower.environment import free_ports
from fedcrucible.engines.flower.output import cause
from fedcrucible.engines.flower.processes import Processes, ProcessOwner
from fedcrucible.engines.flower.submission import Submission

LOG = "superlink.log"
START_LIMIT_S = 120.0


class LocalSuperLink(ProcessOwner):
    """Context manager around a simulation SuperLink on a free port of the loopback interface.

    Entering it starts the SuperLink (5 to 10 s) without waiting for it; the first run waits.  All runs in it share it.
    Leaving it, by whatever way, ends every process it started (Ray's too) and removes its temporary folder.
    """

    def __init__(self) -> None:
        super().__init__()
        self._url = ""
        self._submission: Submission | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def ready(self) -> Submission:
        """Wait until the SuperLink answers; returns how to submit runs to it. Raises FlowerRunError."""
        if self._submission is None or self._process is None:
            raise FlowerRunError("the local SuperLink is not running; use it in a `with` statement")
        wait_until_healthy(self._url, self._process, self.processes, LOG, verify=False)
        return self._submission

    def _start(self) -> None:
        folder, (port,) = self.processes.folder, free_ports(1)
        environment = self.processes.environment()
        app = stage_app(folder / "fedcrucible")
        self._process = self.processes.start(
            ["flower-superlink", "--simulation", "--insecure", "--host", "127.0.0.1", "--port", str(port)],
            LOG,
            environment,
        )
        write_connection(folder / "home", f"127.0.0.1:{port}", None)
        self._url = f"http://127.0.0.1:{port}/health"
        self._submission = Submission(app, environment)


def wait_until_healthy(
    url: str, process: subprocess.Popen[bytes], processes: Processes, log: str, *, verify: str | bool
) -> None:
    """Wait until ``url`` answers; raises FlowerRunError when the process ends or takes too long."""
    context = ssl.create_default_context(cafile=verify) if isinstance(verify, str) else verify
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            if httpx.get(url, timeout=1.0, verify=context, trust_env=False).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.1)
    tail, code = processes.log_tail(log), process.poll()
    ended = "" if code is None else f"it ended with exit code {code}, "
    raise FlowerRunError(f"no SuperLink answers at {url}: {ended}{cause(tail)}\nThe end of its log:\n{tail}")
