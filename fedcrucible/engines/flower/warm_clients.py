"""A SuperExec whose clients begin with PyTorch and Flower already imported: each is forked off this process.

Flower starts a Python interpreter for every message, which spends seconds on imports before it trains.  Here those are
done once.  A client still is a process of its own that ends with its message: it inherits modules, and no state.  The
app itself is imported by each client, from the bundle that came with its run.

    python -m fedcrucible.engines.flower.warm_clients --runtime-api-address 127.0.0.1:9094 --parent-pid PID

It belongs to the SuperNode that is its parent process, one with ``--isolation process``, and ends with it.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import os
import random
import signal
import stat
import sys
from collections.abc import Sequence
from logging import ERROR, WARNING
from pathlib import Path
from typing import NoReturn

import numpy as np
from flwr.common.logger import log
from flwr.supercore.constant import TaskType
from flwr.supercore.exit import exit_handler
from flwr.supercore.superexec import run_superexec
from flwr.supercore.superexec.executor import ExecutionSpec, LaunchResult
from flwr.supercore.superexec.executor.subprocess_executor import SubprocessExecutor
from flwr.supercore.tls import validate_and_resolve_root_certificates
from flwr.supernode.runtime.run_clientapp import run_clientapp

from fedcrucible.engines.flower.parent import end_with
from fedcrucible_core.rooms import PACKAGES

PRELOADED = (
    "torch",
    "torch.nn.functional",
    "numpy.random",
    "pydantic",
    "safetensors.torch",
    "PIL.Image",
    "platformdirs",
)
"""What clients need and what isn't the app's: that comes with its bundle, and may be another version."""


class ForkingExecutor(SubprocessExecutor):
    """Starts ClientApps as forks of this process, which must have one thread only; all else as Flower does."""

    def launch(self, spec: ExecutionSpec) -> LaunchResult:
        """Start the process of one message."""
        if spec.task_type != TaskType.CLIENT_APP or spec.runtime_dependency_install:
            return super().launch(spec)
        sys.stdout.flush()
        sys.stderr.flush()
        if os.fork() == 0:
            _be_client(spec)
        return LaunchResult.accepted()

    def reconcile(self) -> None:
        """Take note of clients that have ended."""
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if os.WIFSIGNALED(ended[1]):
                    log(WARNING, "a client was ended by signal %d", os.WTERMSIG(ended[1]))


def _be_client(spec: ExecutionSpec) -> NoReturn:
    """Become the process of one message, as fresh as one that was started; never returns."""
    code = 1
    try:
        _forget_parent()
        sys.argv = ["flwr-clientapp"]
        run_clientapp(
            runtime_api_address=spec.runtime_api_address,
            token=spec.token,
            insecure=spec.insecure,
            certificates=validate_and_resolve_root_certificates(spec.root_certificates_path, spec.insecure),
            parent_pid=spec.parent_pid,
        )
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException as error:
        log(ERROR, "a client could not be started", exc_info=error)
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)  # whatever was raised: nothing of the parent's may run here


def _forget_parent() -> None:
    """Drop what a fork inherits and a fresh process would not have: handlers, connections, state of randomness."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    exit_handler.registered_exit_handlers.clear()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
        with contextlib.suppress(OSError):
            if descriptor > 2 and stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                os.dup2(nowhere, descriptor)  # not closed: its number still belongs to an object of the parent's
    os.close(nowhere)
    random.seed()
    np.random.seed()  # ours draws nothing from the global ones; another's code may
    for name in [name for name in sys.modules if name.partition(".")[0] in PACKAGES]:
        del sys.modules[name]  # the app's modules come from its bundle, not from what is installed here


def main(arguments: Sequence[str] | None = None) -> None:
    """Import what clients need, then start one for each message until the SuperNode ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtime-api-address", required=True)
    parser.add_argument("--parent-pid", type=int, required=True, help="the SuperNode")
    parser.add_argument("--root-certificates", help="of the SuperNode's own port; without it that port is plain HTTP")
    options = parser.parse_args(arguments)
    end_with(options.parent_pid)
    for name in PRELOADED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # objects that stay are never looked at again: their pages remain shared with all clients
    executor = ForkingExecutor()
    run_superexec.get_executor = lambda *_, **__: executor  # type: ignore[attr-defined]
    run_superexec.run_superexec(
        runtime_api_address=options.runtime_api_address,
        insecure=options.root_certificates is None,
        root_certificates_path=options.root_certificates,
    )


if __name__ == "__main__":
    main()
