"""``fedcrucible verify``: what it says and how it exits."""

from __future__ import annotations

import json

from fedcrucible_core.records import files
from tests.fedcrucible.conftest import TINY


def test_a_whole_record_a_changed_one_and_none(fedcrucible, runs_folder, tmp_path) -> None:
    fedcrucible("run", *TINY, "--quiet", "output.name=x")
    folder = runs_folder / "x"

    whole = fedcrucible("verify", folder)
    assert whole.exit_code == 0
    assert whole.stdout.startswith("whole: 4 events, 2 rounds, head ")
    head = json.loads(fedcrucible("verify", folder, "--json").stdout)["head"]
    assert fedcrucible("verify", folder, "--head", head).exit_code == 0
    assert fedcrucible("verify", folder, "--head", "0" * 64).exit_code == 1

    events = folder / files.EVENTS
    events.write_bytes(events.read_bytes().replace(b'"round":1', b'"round":3'))
    broken = fedcrucible("verify", folder)
    assert broken.exit_code == 1
    assert broken.stderr == ""
    assert broken.stdout.startswith("wrong: events.jsonl, line 3 was changed: its SHA-256 is another one\nBROKEN: 2 ")
    assert not json.loads(fedcrucible("verify", folder, "--json").stdout)["whole"]

    none = fedcrucible("verify", tmp_path)
    assert none.exit_code == 1
    assert "holds no events.jsonl" in none.stderr
