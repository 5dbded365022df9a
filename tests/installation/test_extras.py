"""What each installation has, and the one error where an extra is missing."""

from __future__ import annotations

import ast
import importlib.util
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from fedcrucible_core.config import ConfigError, extras
from fedcrucible_core.rooms import APP, PACKAGES, ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BROUGHT_ALONG = {"click", "cryptography", "datasets", "huggingface-hub", "markupsafe", "pyyaml"}
"""By Flower, flwr-datasets, transformers and jinja2, which can't do without."""


def asked(lines: list[str]) -> set[str]:
    """Distributions of requirement lines, extras of our own followed."""
    found: set[str] = set()
    for requirement in map(Requirement, lines):
        if requirement.name == "fedcrucible":
            found |= {name for extra in requirement.extras for name in asked(PROJECT["optional-dependencies"][extra])}
        else:
            found.add(canonicalize_name(requirement.name))
            found |= {"ray"} if "simulation" in requirement.extras else set()
    return found


def distributions(modules: Iterator[str] | tuple[str, ...]) -> set[str]:
    """Which distributions bring top-level modules, as far as they are installed here."""
    known = packages_distributions()
    return {canonicalize_name(name) for module in modules for name in known.get(module, [])}


def imported(folder: Path) -> Iterator[tuple[str, str]]:
    """Every import of another project in a room, wherever it stands: file, top-level module."""
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for top in {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - set(PACKAGES):
                yield path.relative_to(ROOT).as_posix(), top


@pytest.mark.parametrize("extra", extras.EXTRAS)
def test_the_table_and_pyproject_name_the_same_packages(extra: str) -> None:
    wanted = asked(PROJECT["optional-dependencies"][extra])
    listed = distributions(extras.EXTRAS[extra])
    missing = {module for module in extras.EXTRAS[extra] if importlib.util.find_spec(module) is None}
    if missing:
        pytest.skip(f"not installed here: {', '.join(sorted(missing))}")
    brought_along = {"flwr"} | ({"datasets"} if extra == "datasets" else set())
    assert wanted - listed <= brought_along
    assert listed - wanted <= brought_along


def test_a_plain_installation_has_no_package_of_the_server_or_the_command() -> None:
    core = asked(PROJECT["dependencies"])
    assert core.isdisjoint({"matplotlib", "pandas", "typer", "opacus", "ray", "scipy", "scikit-learn", "transformers"})
    assert core.isdisjoint(asked(PROJECT["optional-dependencies"]["cli"]) - {"flwr"})


def test_all_is_everything_but_what_is_large() -> None:
    parts = ("server", "cli", "datasets", "timm", "onnx")
    together = {name for part in parts for name in asked(PROJECT["optional-dependencies"][part])}
    assert asked(PROJECT["optional-dependencies"]["all"]) == together


@pytest.mark.parametrize("room", [room for room in PACKAGES if room != "fedcrucible_assets"])
def test_every_import_is_of_a_package_that_the_project_asks_for(room: str) -> None:
    known = packages_distributions()
    own = asked(PROJECT["dependencies"]).union(*map(asked, PROJECT["optional-dependencies"].values()), BROUGHT_ALONG)
    wrong = [
        f"{file} imports {module}"
        for file, module in imported(ROOT / room)
        if module in known and own.isdisjoint(map(canonicalize_name, known[module]))
    ]
    assert wrong == []


def test_modules_of_the_app_s_top_level_need_no_extra() -> None:
    """What is imported with a room of a client, and not where it is used, must be there in a plain installation."""
    core = asked(PROJECT["dependencies"])
    known = packages_distributions()
    wrong = []
    for room in APP:
        if room == "server_app":
            continue
        for path in sorted((ROOT / room).rglob("*.py")):
            if "reports" in path.parts:
                continue  # a client writes none
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                module = node.module if isinstance(node, ast.ImportFrom) and not node.level else None
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [module or ""]
                tops = {name.split(".")[0] for name in names} & set(known)
                wrong += [
                    f"{path.relative_to(ROOT)}: {top}"
                    for top in tops - set(PACKAGES)
                    if core.isdisjoint(map(canonicalize_name, known[top]))
                ]
    assert wrong == []


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """Modules whose names are added to ``gone`` can't be found."""
    gone: set[str] = set()
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name in gone else find(name))
    extras.missing.cache_clear()
    yield SimpleNamespace(gone=gone)
    extras.missing.cache_clear()


def test_nothing_is_said_where_nothing_is_missing(without: SimpleNamespace) -> None:
    extras.require("server")


def test_one_error_names_what_is_missing_and_the_extra(without: SimpleNamespace) -> None:
    without.gone |= {"hdbscan", "opacus"}
    message = "installation = 'without hdbscan, opacus': needs the extra: pip install 'fedcrucible[server]'"
    with pytest.raises(ConfigError) as caught:
        extras.require("server")
    assert str(caught.value) == message


def test_a_plan_needs_the_server_s_packages_before_it_reads_anything(without: SimpleNamespace) -> None:
    from fedcrucible_core.config.load import load
    from server_app.plan import Plan

    without.gone.add("matplotlib")
    with pytest.raises(ConfigError, match=r"without matplotlib.*fedcrucible\[server\]"):
        Plan.make(load({"task.data_dir": "/nowhere"}))


def test_an_attacker_that_simulates_a_rule_says_what_its_node_lacks(without: SimpleNamespace) -> None:
    import torch

    from fedcrucible_core.config.load import load
    from fedcrucible_core.learning.data import DataInfo
    from fedcrucible_core.learning.models.base import MODELS
    from fedcrucible_core.learning.tasks import task_of
    from strategies.rule_simulation import accepted_updates

    without.gone.add("scipy")
    config = load({"strategy": "flame", "model.name": "cnn"})
    info = DataInfo("small", tuple("abc"), (1, 28, 28), (0.5,), (0.5,))
    scratch = MODELS.of(config).build(info, 1)
    with pytest.raises(ConfigError, match=r"without scipy.*fedcrucible\[server\]"):
        accepted_updates(config, "server", torch.zeros(1), torch.zeros(3, 1), round=1, participants=3, malicious=1,
                         scratch=scratch, task=task_of(info))  # fmt: skip


@pytest.mark.parametrize(
    ("command", "extra"), [(["compare"], "cli"), (["demo"], "cli"), (["report", "."], "server"), (["run"], "server")]
)
def test_commands_say_what_to_install(
    command: list[str], extra: str, without: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from fedcrucible.cli import app

    monkeypatch.chdir(tmp_path)
    without.gone |= {"pandas", "matplotlib"}
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 2
    assert done.stderr.startswith("error: installation = 'without matplotlib")
    assert f"pip install 'fedcrucible[{extra}]'" in done.stderr
