"""docs/methods.md is what the registries say, and what they say is true where it can be checked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from fedcrucible.catalogue import entries

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_up_to_date() -> None:
    """`python tools/list_methods.py` brings it up to date."""
    command = [sys.executable, "tools/list_methods.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_page_names_every_component() -> None:
    text = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    for kind in ("defenses", "purifiers", "attacks", "partitioners", "datasets"):
        for entry in entries(kind):
            assert f"| `{entry.name}`: " in text
            assert f"`{entry.file}`" in text


def test_what_authors_say_is_short_text() -> None:
    for kind in ("defenses", "purifiers", "attacks", "strategies"):
        for entry in entries(kind):
            assert isinstance(entry.traps, tuple), f"{entry.name}: traps is a tuple, with a comma after a single one"
            for text in (entry.state_kept, entry.cost, *entry.traps):
                assert text == text.strip()
                assert "\n" not in text


def test_list_shows_state_cost_and_traps(fedcrucible) -> None:
    full = fedcrucible("list", "defenses", "flame").stdout
    assert "cost: O(n^2 d)" in full
    assert "traps avoided: the norm bound is the median over all clients" in full
    assert "keeps between rounds: linear map h" in fedcrucible("list", "clip-guided").stdout
    assert "cost" in fedcrucible("list", "defenses").stdout
    assert "linear map h" in fedcrucible("list", "strategies", "clip-fed").stdout, "a system keeps what its parts keep"
