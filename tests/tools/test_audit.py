"""The audit: an answer that isn't about all packages is never "nothing is known"; files and profiles are all read."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from fedcrucible_core.rooms import ROOT
from tools import audit
from tools.audit import OK, UNKNOWN, WRONG, Done, Finding

CLEAN = {"name": "idna", "version": "3.20", "vulns": []}
SKIPPED = {"name": "torch", "skip_reason": "Dependency not found on PyPI and could not be audited: torch (2.15.0)"}
BAD = {"name": "pillow", "version": "9.0", "vulns": [{"id": "PYSEC-2022-10", "fix_versions": ["9.0.1"]}]}


def answers(*packages: dict[str, object], code: int = 0) -> Done:
    return Done([], code, json.dumps({"dependencies": list(packages), "fixes": []}), "")


class Script:
    """A runner that gives answers in their order, and keeps what was asked."""

    def __init__(self, *answers: Done) -> None:
        self.answers = list(answers)
        self.asked: list[list[str]] = []

    def __call__(self, command: Sequence[str]) -> Done:
        self.asked.append(list(command))
        return self.answers.pop(0)

    def services(self) -> list[str]:
        return [command[command.index("--vulnerability-service") + 1] for command in self.asked]


UNREACHED = Done([], 1, "", "Traceback\nrequests.exceptions.ConnectionError: no route to host")


@pytest.mark.parametrize(
    ("script", "state", "told"),
    [
        (Script(answers(CLEAN)), OK, ""),
        (Script(answers(CLEAN, BAD, code=1)), WRONG, "pillow 9.0: PYSEC-2022-10, mended in 9.0.1"),
        (Script(answers(BAD, SKIPPED, code=1)), WRONG, "pillow 9.0"),
        (Script(answers(SKIPPED), answers(CLEAN)), OK, ""),
        (Script(answers(CLEAN, SKIPPED), UNREACHED), UNKNOWN, "pypi: it knows nothing of 1 of 2 packages: torch, ..."),
        (Script(UNREACHED, UNREACHED), UNKNOWN, "osv: requests.exceptions.ConnectionError: no route to host"),
        (Script(answers(), answers()), UNKNOWN, "it was asked about no package"),
        (Script(Done([], 0, "null", ""), Done([], 127, "", "")), UNKNOWN, "osv: exit code 127"),
    ],
)
def test_nothing_known_needs_an_answer_about_every_package(script: Script, state: int, told: str) -> None:
    (finding,) = audit.packages(script)
    assert finding.state == state
    assert told in str(finding)
    assert script.services() == list(audit.SERVICES[: len(script.asked)])


def test_accepted_ones_are_said_and_not_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "ACCEPTED", {"PYSEC-2022-10": "no picture of others is opened"})
    (finding,) = audit.packages(Script(answers(BAD, code=1)))
    assert finding.state == OK
    assert "accepted: PYSEC-2022-10: no picture of others is opened" in str(finding)


def test_a_hadolint_that_says_nothing_has_not_looked() -> None:
    assert audit.dockerfile(Script(Done([], 0, "", "")))[0].state == OK
    said = audit.dockerfile(Script(Done([], 1, "Dockerfile:3 DL3006 warning: tag the image\n", "")))[0]
    assert (said.state, said.lines) == (WRONG, ("Dockerfile:3 DL3006 warning: tag the image",))
    assert audit.dockerfile(Script(Done([], 2, "", "error: no solution found")))[0].state == UNKNOWN


def test_every_compose_file_is_read_bare_and_with_all_its_profiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "compose_program", lambda: ["compose"])
    done = Done([], 0, "", "")
    script = Script(*[done] * 20)
    assert {finding.state for finding in audit.compose(script)} == {OK}
    version, *asked = script.asked
    assert version == ["compose", "version"]
    read = {word for command in asked for word in command if word.endswith(".yml")}
    assert read == {path.name for path in (ROOT / "docker").glob("*.yml")}
    every = {word for command in asked for at, word in enumerate(command) if command[at - 1] == "--profile"}
    assert every == set(audit.profiles([*read])) == {"malicious", "setup", "submit"}
    assert all(command[-1] == "config" for command in asked)


def test_a_compose_file_that_can_t_be_read_is_wrong_and_no_program_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "compose_program", lambda: ["compose"])
    good, bad = Done([], 0, "", ""), Done([], 15, "", "services.site-a must be a mapping\n")
    found = audit.compose(Script(good, bad, *[good] * 20))
    assert [finding.state for finding in found].count(WRONG) == 1
    assert found[0].lines == ("services.site-a must be a mapping",)
    assert [finding.state for finding in audit.compose(Script(bad))] == [UNKNOWN]


@pytest.mark.parametrize(
    ("states", "code"), [((OK, OK), 0), ((OK, UNKNOWN), 2), ((WRONG, UNKNOWN), 1), ((UNKNOWN, WRONG), 1)]
)
def test_the_exit_code_is_the_worst(
    states: tuple[int, int], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    looks = {f"look{i}": lambda state=state: [Finding("it", state, ("why",))] for i, state in enumerate(states)}
    monkeypatch.setattr(audit, "LOOKS", looks)
    assert audit.main([]) == code
    assert capsys.readouterr().out.count("    why\n") == 2
    with pytest.raises(SystemExit):
        audit.main(["unheard"])


@pytest.mark.slow
def test_the_shipped_compose_files_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """For real, with what is installed here; `make audit` fetches podman-compose where nothing is."""
    scripts = str(Path(sys.executable).parent)
    program = audit.compose_program()
    found = shutil.which(program[0]) or shutil.which(program[0], path=scripts)
    if found is None or (program == ["podman-compose"] and shutil.which("podman") is None):
        pytest.skip("neither docker compose nor podman and podman-compose are here")

    def run(command: Sequence[str]) -> Done:
        return subprocess.run([found, *command[1:]], capture_output=True, text=True, check=False, cwd=ROOT / "docker")

    findings = audit.compose(run)
    assert findings
    assert [str(finding) for finding in findings if finding.state != OK] == []
