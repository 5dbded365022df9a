"""One writer at a time, and nothing left behind."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.sections import OutputSection
from fedcrucible_core.records.lock import FolderBusyError, only_writer
from fedcrucible_core.records.writer import RunRecord

HOLD = """
import sys, time
from pathlib import Path
from fedcrucible_core.records.lock import only_writer
with only_writer(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_writer_is_refused_until_the_first_lets_go(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    with only_writer(folder):
        with pytest.raises(FolderBusyError), only_writer(folder):
            pass
        assert list(folder.iterdir()) == []
    with only_writer(folder):
        pass


def test_a_killed_process_lets_go(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(FolderBusyError), only_writer(tmp_path):
            pass
    finally:
        process.kill()
        process.wait()
    with only_writer(tmp_path):
        pass


def test_a_folder_that_its_holder_removed_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    with only_writer(folder):
        shutil.rmtree(folder)
        with only_writer(folder):  # another folder of the same name
            assert folder.is_dir()


def test_two_runs_of_one_name(tmp_path: Path) -> None:
    output = OutputSection(dir=str(tmp_path), name="x")
    with (
        RunRecord.open(output, strategy="s", attack="a", seed=1),
        pytest.raises(ConfigError, match=r"output\.name = 'x': another run is writing to .*x;"),
        RunRecord.open(output, strategy="s", attack="a", seed=1, resume=True),
    ):
        pass


def test_leftovers_of_killed_writers_are_removed(tmp_path: Path) -> None:
    (tmp_path / "x" / "checkpoints").mkdir(parents=True)
    for name in (".config.json.17.part", "checkpoints/.round-0000001.safetensors.17.part"):
        (tmp_path / "x" / name).write_text("half")
    output = OutputSection(dir=str(tmp_path), name="x")
    with RunRecord.open(output, strategy="s", attack="a", seed=1, resume=True) as record:
        assert not list(record.folder.rglob("*.part"))
