"""The tiers of the tests: what is listed as slow exists, and the list is read, kept and honoured."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from fedcrucible_core.rooms import ROOT
from tests.support import tiers
from tools import slow_tests


def test_every_line_of_the_list_names_a_test() -> None:
    assert tiers.listed()
    assert tiers.stale(tiers.listed()) == set(), "python tools/slow_tests.py --prune drops them"


def test_no_two_test_files_have_one_name() -> None:
    names = [path.name for path in tiers.TESTS.rglob("test_*.py")]
    assert sorted(names) == sorted(set(names)), (
        "pytest collects files of one name only once, and the list names them so"
    )


@pytest.mark.parametrize(
    ("listed", "slow"),
    [
        ("test_a.py::test_x[1]", True),
        ("test_a.py::test_x", True),
        ("test_a.py", True),
        ("test_a.py::test_x[2]", False),
        ("test_a.py::test", False),
        ("test_b.py::test_x[1]", False),
    ],
)
def test_a_test_is_listed_with_its_parameters_by_its_function_or_by_its_file(listed: str, slow: bool) -> None:
    assert tiers.is_slow("tests/somewhere/test_a.py::test_x[1]", {listed}) is slow


def test_what_is_written_is_read(tmp_path: Path) -> None:
    tiers.write({"test_b.py", "test_a.py::test_x"}, tmp_path / "list")
    assert (tmp_path / "list").read_text(encoding="utf-8").splitlines()[1:] == ["test_a.py::test_x", "test_b.py"]
    assert tiers.listed(tmp_path / "list") == {"test_a.py::test_x", "test_b.py"}


def test_names_without_a_file_or_a_function_are_stale(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text("class TestX:\n    def test_y(self): ...\n\ndef test_z(): ...\n")
    good = {"test_a.py", "test_a.py::TestX::test_y", "test_a.py::test_z[3]"}
    assert tiers.stale(good | {"test_b.py", "test_a.py::test_gone"}, tmp_path) == {"test_b.py", "test_a.py::test_gone"}


def test_every_path_of_a_group_is_there() -> None:
    paths = [path for of_group in tiers.GROUPS.values() for path in of_group]
    assert [path for path in paths if not list(ROOT.glob(path + "*"))] == []


def test_servers_share_a_worker_and_files_stay_whole() -> None:
    engines = "tests/fedcrucible/engines"
    assert tiers.group(f"{engines}/test_deployment.py::x") == tiers.group(f"{engines}/test_hospitals.py::y")
    assert tiers.group(f"{engines}/test_deployment.py::x") == tiers.group(f"{engines}/test_simulation.py::y")
    assert tiers.group("tests/fedcrucible/engines/test_a.py::x") == tiers.group("tests/fedcrucible/test_demo.py::y")
    assert tiers.group("tests/attacks/test_a.py::x") == tiers.group("tests/attacks/test_a.py::y[1]")
    assert tiers.group("tests/attacks/test_a.py::x") != tiers.group("tests/attacks/test_b.py::x")


def test_the_stopwatch_sees_what_takes_long(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a process of its own: pytest inside pytest would count for both."""
    (tmp_path / "test_made.py").write_text(
        "import time\ndef test_long():\n    end = time.process_time() + 0.3\n"
        "    while time.process_time() < end: pass\ndef test_short(): pass\n"
    )
    command = [sys.executable, str(Path(slow_tests.__file__)), str(tmp_path / "test_made.py"), "--limit", "0.2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "test_made.py::test_long" in done.stdout
    assert "1 of 2 tests over 0.2 s" in done.stdout


def test_make_test_leaves_the_slow_ones_to_test_slow() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    heads = [line for line in makefile.splitlines() if " ## " in line]
    rules = {head.split(":")[0]: makefile.split(head)[1].split("\n\n")[0] for head in heads}
    assert '-m "not slow"' in rules["test"]
    assert '-m "slow and not long"' in rules["test-slow"]
    assert "-m long" in rules["test-long"]
    assert " -m " not in rules["test-all"]
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert [line for line in ci if line.startswith("make")] == ["make test", "make test-slow"]
    pytest_settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]
    assert [line.split(":")[0] for line in pytest_settings["ini_options"]["markers"]] == ["slow", "long"]
