"""``fedcrucible site`` without a SuperLink; test_registration.py has one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fedcrucible.engines.flower.keys import create_server_certificate


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    create_server_certificate(tmp_path / "server")
    return tmp_path


def _after(output: str, word: str) -> str:
    (line,) = [line for line in output.splitlines() if line.startswith(word)]
    return line.removeprefix(word).split("(")[0].strip()


NOBODY = "localhost:1"
"""No SuperLink is there."""


def test_day_one_from_request_to_start(fedcrucible, here: Path) -> None:
    made = fedcrucible("site", "request", "hospital-a")
    assert made.exit_code == 0, made.output
    told = _after(made.stdout, "to read out")
    let_in = fedcrucible("site", "approve", "keys/hospital-a.request.json", "--fingerprint", told)
    assert let_in.exit_code == 0, let_in.output
    assert "registered    not yet" in let_in.stdout
    where = ("--superlink", NOBODY, "--ca", "server/ca.crt")
    packed = fedcrucible("site", "pack", "hospital-a", "--partition", 0, "--partitions", 2, *where)
    assert packed.exit_code == 0, packed.output
    arrived = fedcrucible(
        "site", "unpack", "sites/hospital-a.site.json", "--fingerprint", _after(packed.stdout, "to read out")
    )
    assert arrived.exit_code == 0, arrived.output
    assert arrived.stdout.splitlines()[-1].startswith(
        f"flower-supernode --superlink {NOBODY} --root-certificates keys/"
    )
    again = fedcrucible("site", "pack", "hospital-a", "--partition", 0, "--partitions", 2)
    assert again.exit_code == 0, "the roster remembers the SuperLink"
    listed = fedcrucible("site", "list", "--json")
    found = json.loads(listed.stdout)
    assert [row["site"] for row in found["rows"]] == ["hospital-a"]
    assert found["rows"][0]["superlink"] == "not asked"
    assert "can't be asked" in found["problem"]
    assert found["node_partitions"].endswith(":0")


def test_a_superlink_that_is_not_there_is_exit_code_1_and_the_roster_stays(fedcrucible, here: Path) -> None:
    told = _after(fedcrucible("site", "request", "hospital-a").stdout, "fingerprint")
    where = ("--superlink", NOBODY, "--ca", "server/ca.crt")
    let_in = fedcrucible("site", "approve", "keys/hospital-a.request.json", "--fingerprint", told, *where)
    assert let_in.exit_code == 1
    assert "not registered: the SuperLink at localhost:1 can't be asked" in let_in.stderr
    assert "repeat this command" in let_in.stderr
    out = fedcrucible("site", "revoke", "hospital-a", "--reason", "gone\x1b[2J")
    assert out.exit_code == 1
    assert "may still let it in" in out.stderr
    listed = fedcrucible("site", "list").stdout
    assert "revoked" in listed
    assert "\x1b" not in listed


def test_mistakes_are_exit_code_2(fedcrucible, here: Path) -> None:
    fedcrucible("site", "request", "hospital-a")
    wrong = fedcrucible("site", "approve", "keys/hospital-a.request.json", "--fingerprint", "SHA256:abc")
    assert (wrong.exit_code, "read it out again" in wrong.stderr) == (2, True)
    absent = fedcrucible("site", "pack", "hospital-a", "--partition", 0, "--partitions", 1)
    assert (absent.exit_code, "names none yet" in absent.stderr or "remembers none yet" in absent.stderr) == (2, True)
    address = fedcrucible("site", "list", "--superlink", "http://x:1")
    assert (address.exit_code, "HOST:PORT" in address.stderr) == (2, True)
    assert fedcrucible("site", "list").stdout.startswith("nobody is on the roster")
