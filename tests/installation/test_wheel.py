"""The wheel: what it holds, and that it works where nothing else of the project is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from fedcrucible_core.rooms import PACKAGES, ROOT

DATA = (".toml", ".npz", ".gz", ".safetensors", ".json", ".md", ".typed")
"""Endings of what ships beside modules."""


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built with what is installed here: no network."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = folder.glob("fedcrucible-*.whl")
    return made


@pytest.fixture(scope="session")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_it_holds_the_packages_and_nothing_else(names: set[str]) -> None:
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_it_holds_every_file_that_a_package_has(package: str, names: set[str]) -> None:
    """Modules, presets, papers' tables, data, weights, and the mark that says that types can be trusted."""
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", package],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert f"{package}/py.typed" in names
    assert {name for name in tracked if name.endswith((".py", *DATA))} <= names


def test_its_modules_hold_no_test(names: set[str]) -> None:
    assert [name for name in names if "/test_" in name or "conftest" in name] == []


# --- installed in an empty environment --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Environment:
    """A virtual environment, and a folder to work in that holds names like ours."""

    folder: Path
    elsewhere: Path

    def install(self, *wanted: str) -> None:
        python = str(self.folder / "bin" / "python")
        _uv("pip", "install", "--python", python, "--constraint", str(ROOT / "constraints.txt"), *wanted)

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.folder / "bin" / program), *arguments]
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
        return subprocess.run(
            command, cwd=self.elsewhere, env=environment, capture_output=True, text=True, check=False, timeout=300
        )

    def packages(self) -> set[str]:
        listed = _uv("pip", "list", "--python", str(self.folder / "bin" / "python"), "--format", "json")
        return {package["name"].lower() for package in json.loads(listed)}


def _uv(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "uv", *arguments, "--quiet"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    base = tmp_path_factory.mktemp("installed")
    _uv("venv", "--python", sys.executable, str(base / "venv"))
    elsewhere = base / "elsewhere"
    for name in ("config.py", "learning.py", "foundation.py", "runner/__init__.py", "tools/__init__.py"):
        (elsewhere / name).parent.mkdir(parents=True, exist_ok=True)
        (elsewhere / name).write_text("raise ImportError('a file of the user')\n", encoding="utf-8")
    return Environment(base / "venv", elsewhere)


@pytest.fixture(scope="session")
def plain(environment: Environment, wheel: Path) -> Environment:
    """What a SuperNode has: no extra."""
    environment.install(str(wheel))
    return environment


@pytest.fixture(scope="session")
def plain_packages(plain: Environment) -> set[str]:
    return plain.packages()


@pytest.mark.slow
def test_a_plain_installation_has_none_of_the_server_s_packages(plain_packages: set[str]) -> None:
    """typer, rich and httpx are there all the same: Flower itself needs them."""
    unwanted = {
        "matplotlib", "pandas", "opacus", "scipy", "scikit-learn", "hdbscan", "transformers", "tokenizers", "ray",
        "pyarrow", "datasets", "threadpoolctl",
    }  # fmt: skip
    assert plain_packages & unwanted == set()
    assert {"flwr", "torch", "torchvision", "pillow", "safetensors"} <= plain_packages


@pytest.mark.slow
def test_a_plain_installation_runs_beside_files_of_the_user(plain: Environment) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    done = plain.run("fedcrucible", "--version")
    assert done.stdout.startswith(f"fedcrucible {version} "), done.stderr
    done = plain.run("python", "-c", "import client_app.app; print(client_app.app.__file__)")
    assert done.stdout.startswith(str(plain.folder)), done.stderr


@pytest.mark.slow
def test_a_plain_installation_says_what_a_run_needs(plain: Environment, plain_packages: set[str]) -> None:
    assert "opacus" not in plain_packages
    done = plain.run("fedcrucible", "run", "--preset", "smoke")
    assert done.returncode == 2
    assert "pip install 'fedcrucible[server]'" in done.stderr


@pytest.mark.slow
def test_with_all_extras_it_runs_beside_files_of_the_user(
    plain: Environment, plain_packages: set[str], wheel: Path, tmp_path: Path
) -> None:
    plain.install(f"{wheel}[all]")
    assert plain_packages < plain.packages()
    done = plain.run(
        "fedcrucible", "run", "--preset", "smoke", "run.rounds=2", "--json", "--quiet", f"output.dir={tmp_path}"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rounds"] == 2
