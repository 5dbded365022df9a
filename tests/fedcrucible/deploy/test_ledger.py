"""The list of processes: alive means the very process that was started, not one with its number."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedcrucible.deploy.ledger import LEDGER, Ledger, Started, read_ledger, start_time
from fedcrucible.engines.flower import guard
from fedcrucible.engines.flower.processes import Processes
from fedcrucible_core.config.errors import ConfigError

SLEEP = (sys.executable, "-c", "import time; time.sleep(60)")


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    new = Ledger.new()
    yield new
    guard.end(new.mark)


def entry(child: subprocess.Popen[bytes], **changes: object) -> Started:
    fields = {"pid": child.pid, "started": start_time(child.pid), "command": SLEEP, "log": "x.log", **changes}
    return Started.model_validate(fields)


def test_only_the_same_process_runs(tmp_path: Path, ledger: Ledger) -> None:
    child = Processes(tmp_path, ledger.mark).start(SLEEP, "x.log", {**os.environ, guard.MARK: ledger.mark})
    unmarked = subprocess.Popen(SLEEP)
    try:
        full = ledger.with_process("same", entry(child))
        full = full.with_process("number used again", entry(child, started="1"))
        full = full.with_process("somebody else's", entry(unmarked))
        full = full.with_process("gone", entry(child, pid=2**22 - 3))
        full.write(tmp_path)
        assert read_ledger(tmp_path) == full
        assert list(full.running()) == ["same"]
        guard.end(ledger.mark)
        child.wait()
        assert full.running() == {}
        assert unmarked.poll() is None
    finally:
        unmarked.kill()
        unmarked.wait()


def test_no_list_and_a_broken_one(tmp_path: Path) -> None:
    assert read_ledger(tmp_path) is None
    (tmp_path / LEDGER).write_text("{}", encoding="utf-8")
    with pytest.raises(
        ConfigError, match=r"processes\.json': can't be read: Field required; end its processes by hand"
    ):
        read_ledger(tmp_path)


def test_a_process_that_is_gone_has_no_start_time() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert start_time(child.pid) == ""
    assert start_time(os.getpid())
