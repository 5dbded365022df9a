"""Which tests `make check` runs for a change."""

from __future__ import annotations

import subprocess
from pathlib import Path, PurePosixPath

import pytest

from tools.changed_tests import changed_files, guards_of

FILES = {
    "tests/test_architecture.py": "",
    "tests/attacks/uploads/test_alie.py": "",
    "tests/attacks/uploads/test_pgd_rounds.py": "from attacks.uploads.pgd import PGD\n",
    "tests/attacks/test_poisoning.py": "from attacks import poisoning\n    from attacks.uploads import alie\n",
    "tests/attacks/test_schedule.py": "import attacks.base\n",
    "tests/defenses/rules/test_krum.py": "from defenses.rules import Krum\n",
    "tests/defenses/test_weighting.py": "",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ("attacks/uploads/alie.py", {"attacks/uploads/test_alie.py", "attacks/test_poisoning.py"}),
        ("attacks/uploads/pgd.py", {"attacks/uploads/test_pgd_rounds.py"}),
        ("attacks/poisoning.py", {"attacks/test_poisoning.py"}),
        ("attacks/base.py", {"attacks/test_schedule.py"}),
        ("defenses/rules/bulyan.py", {"defenses/rules/test_krum.py"}),
        ("defenses/purifiers/deep/x.py", {"defenses/test_weighting.py"}),
        ("tests/attacks/test_schedule.py", {"attacks/test_schedule.py"}),
        ("tests/attacks/test_gone.py", set()),
        ("tests/support/tiny.py", set()),
        ("studies/why.py", set()),
    ],
)
def test_a_change_asks_for_the_tests_that_know_it(tree: Path, changed: str, expected: set[str]) -> None:
    found = {path.as_posix() for path in guards_of([PurePosixPath(changed)], tree)}
    assert found == {f"tests/{name}" for name in expected} | {"tests/test_architecture.py"}


def test_changes_are_those_since_main_and_those_not_committed(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    def write(name: str, text: str) -> None:
        (tmp_path / name).write_text(text, encoding="utf-8")

    git("init", "--initial-branch=main")
    for name in ("a.py", "b.py", "c.md"):
        write(name, "1")
    git("add", ".")
    git("commit", "-m", "one")
    assert changed_files(tmp_path) == []
    git("checkout", "-b", "work")
    write("a.py", "2")
    git("commit", "-am", "two")
    write("c.md", "2")
    write("new.py", "1")
    assert changed_files(tmp_path) == [PurePosixPath("a.py"), PurePosixPath("new.py")]
