"""constraints.txt: dated, by name only, and made of what uv resolves."""

from __future__ import annotations

import datetime
import re
import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from fedcrucible_core.rooms import ROOT
from tools.refresh_constraints import CONSTRAINTS, pinned, text

RESOLUTION = """\
# a comment
Torch==2.13.0+cpu
numpy==2.4.0 ; python_version >= "3.11"
fedcrucible @ file:///somewhere
-e .
pyyaml==6.0.3
"""


def test_only_numbers_are_kept() -> None:
    assert pinned(RESOLUTION) == {"torch": "2.13.0", "numpy": "2.4.0", "pyyaml": "6.0.3"}


def test_the_file_is_sorted_and_dated() -> None:
    made = text({"b": "2", "a": "1"}, datetime.date(2026, 1, 31))
    assert made.splitlines()[0].startswith("# Versions the project is tested with, of 2026-01-31;")
    assert made.splitlines()[1:] == ["a==1", "b==2"]


def test_the_file_that_is_there_names_versions_and_nothing_else() -> None:
    head, *lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    assert re.search(r"of \d{4}-\d{2}-\d{2};", head)
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*==[0-9][0-9a-z.!]*", line)] == []


def test_every_package_that_the_project_asks_for_is_pinned_to_a_version_that_it_allows() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    apart = {"diffusers", "text-guide"}  # large, and beside any of the others
    asked = [*project["dependencies"], *(line for extra in extras if extra not in apart for line in extras[extra])]
    content = CONSTRAINTS.read_text(encoding="utf-8")
    pins = {canonicalize_name(name): version for name, version in pinned(content).items()}
    for requirement in map(Requirement, asked):
        if requirement.name != "fedcrucible":
            assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement
