"""Processes end with the set that started them, whatever becomes of their parents or of us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fedcrucible.engines.flower import guard
from fedcrucible.engines.flower.processes import ProcessSet

SLEEP = "import time; time.sleep(300)"
ORPHAN = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEP!r}], start_new_session=True)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(300)"


def wait_for(condition: Callable[[], object], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_orphans_and_stubborn_processes_end_and_the_folder_goes() -> None:
    with ProcessSet() as processes:
        parent = processes.start([sys.executable, "-c", ORPHAN], "orphan.log", processes.environment())
        processes.start([sys.executable, "-c", STUBBORN], "stubborn.log", processes.environment())
        parent.wait()
        assert wait_for(lambda: len(processes.alive()) == 2)
        assert os.getpid() not in processes.alive()
        time.sleep(0.5)  # until the stubborn one has said that it won't listen
    assert guard.marked(processes.mark) == []
    assert not processes.folder.exists()


def test_an_exception_cleans_up_too() -> None:
    processes = ProcessSet()

    def interrupted() -> None:
        with processes:
            processes.start([sys.executable, "-c", ORPHAN], "orphan.log", processes.environment())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert guard.marked(processes.mark) == []
    assert not processes.folder.exists()


def test_a_killed_program_leaves_nothing(tmp_path: Path) -> None:
    code = f"""
import sys, time
from fedcrucible.engines.flower.processes import ProcessSet
processes = ProcessSet().__enter__()
processes.start([sys.executable, "-c", {ORPHAN!r}], "orphan.log", processes.environment())
print(processes.mark, processes.folder, flush=True)
time.sleep(300)
"""
    program = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    mark, folder = program.stdout.readline().split()
    assert wait_for(lambda: guard.marked(mark))
    program.send_signal(signal.SIGKILL)
    program.wait()
    assert wait_for(lambda: not guard.marked(mark) and not Path(folder).exists())
