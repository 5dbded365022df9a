"""A module of the user's own under one of our names is named in one line, whichever way the program is started."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from fedcrucible_core.rooms import APP, EXAMPLES, PACKAGES, ROOT, UNSHIPPED, intruder

Started = subprocess.CompletedProcess[str]


def _start(*arguments: str, cwd: Path, path: str = "") -> Started:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(part for part in (path, str(ROOT)) if part)}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def _intrude(folder: Path, room: str, kind: str) -> Path:
    if kind == "module":
        path = folder / f"{room}.py"
        path.write_text("x = 1\n")
        return path
    path = folder / room
    path.mkdir()
    (path / "__init__.py").write_text("x = 1\n")
    return path


def _assert_named(done: Started, path: Path, room: str) -> None:
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {path} is in the way of FedCrucible's own {room!r}: rename it, or ")


@pytest.mark.parametrize("kind", ["module", "package"])
@pytest.mark.parametrize("room", ["attacks", "defenses", "server_app"])
def test_the_command_names_what_lies_on_pythonpath(room: str, kind: str, tmp_path: Path) -> None:
    path = _intrude(tmp_path, room, kind)
    command = "from fedcrucible.__main__ import main; main()"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = _start("-c", command, "list", cwd=elsewhere, path=str(tmp_path))
    _assert_named(done, path, room)
    assert f"take {tmp_path} off PYTHONPATH" in done.stderr


def test_the_command_names_what_lies_in_the_working_folder(tmp_path: Path) -> None:
    path = _intrude(tmp_path, "defenses", "module")
    done = _start("-m", "fedcrucible", "list", cwd=tmp_path)
    _assert_named(done, path, "defenses")
    assert done.stderr.rstrip().endswith("run from another folder")


@pytest.mark.parametrize("room", ["attacks", "strategies"])
def test_a_program_that_imports_us_ends_with_the_same_line(room: str, tmp_path: Path) -> None:
    path = _intrude(tmp_path, room, "module")
    done = _start("-c", "from fedcrucible_core.config.load import load; load({})", cwd=tmp_path)
    last = done.stderr.rstrip().splitlines()[-1]
    assert last.startswith(f"ImportError: {path} is in the way of FedCrucible's own {room!r}")


@pytest.mark.parametrize("app", ["server_app.app", "client_app.app"])
def test_the_flower_apps_end_with_the_same_line(app: str, tmp_path: Path) -> None:
    path = _intrude(tmp_path, "defenses", "module")
    done = _start("-c", f"import {app}", cwd=tmp_path)
    assert f"{path} is in the way" in done.stderr.rstrip().splitlines()[-1]


def test_names_that_are_not_ours_and_plain_folders_are_no_matter(tmp_path: Path) -> None:
    (tmp_path / "utils.py").write_text("")
    (tmp_path / "attacks").mkdir()  # no package: Python passes over it
    done = _start("-m", "fedcrucible", "--version", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("fedcrucible ")


@pytest.mark.parametrize("kind", ["module", "package"])
def test_a_user_s_own_common_names_break_nothing(kind: str, tmp_path: Path) -> None:
    for name in ("config", "learning", "foundation", "runner", "records", "reports", "benchmarks", "studies", "tools"):
        _intrude(tmp_path, name, kind)
    code = "from fedcrucible_core.config.load import load; print(load({'run.seed': 7}).run.seed)"
    assert _start("-c", code, cwd=tmp_path).stdout == "7\n"
    done = _start("-m", "fedcrucible", "list", "strategies", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_another_copy_of_the_project_is_no_intruder(tmp_path: Path) -> None:
    for room in ("fedcrucible_core", "strategies", "attacks"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    code = "import fedcrucible_core.config, attacks; print(attacks.__file__)"
    done = _start("-c", code, cwd=tmp_path)
    assert done.stdout.strip() == str(tmp_path / "attacks" / "__init__.py"), done.stderr


def test_a_module_without_a_spec_is_judged_by_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    module = type(sys)("attacks")
    module.__spec__ = None
    module.__file__ = "/somewhere/attacks.py"
    monkeypatch.setitem(sys.modules, "attacks", module)
    assert intruder().startswith("/somewhere/attacks.py is in the way of FedCrucible's own 'attacks'")


def test_the_list_of_rooms_stands_once_and_whole() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages == {*PACKAGES, *UNSHIPPED}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    assert project["hatch"]["build"]["targets"]["wheel"]["packages"] == list(PACKAGES), "run `make config`"
    apps = [path.parent.name for path in sorted(ROOT.glob("examples/*/pyproject.toml"))]
    assert apps == list(EXAMPLES)
    assert project["mypy"]["mypy_path"] == [f"examples/{app}" for app in apps], "run `make config`"
    checked = [*PACKAGES, *UNSHIPPED, *(app.replace("-", "_") for app in apps)]
    assert project["mypy"]["packages"] == checked, "run `make config`"
    included = ["LICENSE", *(f"{room}/**/*.py" for room in APP)]
    assert project["flwr"]["app"]["fab-include"] == included, "run `make config`"
