"""Build the images, run docker/compose.yml with three SuperNodes of which one attacks, and compare the final model.

The same configuration runs in-process in the server's image: both must end in the same model, bit for bit. Needs podman
and podman-compose, and says so where they are missing (exit code 0: nothing was tried). Containers, volumes and keys
are gone afterwards; images stay.

DOCKER_SMOKE_BUILD holds further options for `podman build`, e.g. another base image or package index;
DOCKER_SMOKE_BUILD=none takes the images that are there.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from fedcrucible.engines.flower.environment import free_ports  # noqa: E402

UID = "10001"
TARGETS = ("node", "server")
SETTINGS = (
    *("strategy=fedavg", "run.rounds=3", "run.device=cpu", "task.train_samples=400", "task.test_samples=200"),
    *("model.name=resnet8", "model.resnet8.width=8", "attack.name=badnets", "output.report=false"),
)
CLIENTS = ("federation.clients=3", "adversary.malicious_ids=2")
"""What the description says of them, for the run in-process."""


class Smoke:
    """One copy of the shipped files, run and removed."""

    def __init__(self, folder: Path, version: str) -> None:
        self.folder = folder
        self.version = version
        environment = {"FEDCRUCIBLE_PORT": str(free_ports(1)[0]), "COMPOSE_PROJECT_NAME": "fedcrucible-smoke"}
        self.environment = {**os.environ, **environment}

    def compose(self, *words: str, profile: str = "") -> str:
        """A command of podman-compose; its standard output."""
        profiles = ["--profile", profile] if profile else []
        return output(["podman-compose", *profiles, "-f", "compose.yml", *words], self.folder, self.environment)

    def prepare(self) -> None:
        """Keys, made by the one-shot service and readable by the containers' user alone."""
        for name in ("compose.yml", "topology.toml"):
            shutil.copyfile(ROOT / "docker" / name, self.folder / name)
        keys = self.folder / "keys"
        keys.mkdir(mode=0o700)
        owner = ["chown", f"{UID}:{UID}", str(keys)]
        output(owner if os.geteuid() == 0 else ["podman", "unshare", *owner], self.folder, self.environment)
        self.compose("run", "--rm", "keys", profile="setup")

    def run(self) -> tuple[str, str]:
        """Digests of the final model: of the federation in containers, and in-process."""
        ended = threading.Event()
        checker = threading.Thread(target=self.check_health, args=(ended,))
        checker.start()
        try:
            self.compose("up", "-d", "--no-build", profile="malicious")
            federated = digest(self.compose("run", "--rm", "submit", *SETTINGS, "--json", profile="submit"))
        finally:
            ended.set()
            checker.join()
        self.require_confinement()
        image = f"fedcrucible-server:{self.version}"
        command = ["fedcrucible", "run", *SETTINGS, *CLIENTS, "--quiet", "--json"]
        alone = output(["podman", "run", "--rm", "--network=none", image, *command], self.folder, self.environment)
        return federated, digest(alone)

    def check_health(self, ended: threading.Event) -> None:
        """What systemd does elsewhere: without it podman never runs a health check."""
        while not ended.wait(5.0):
            for container in self.containers():
                subprocess.run(["podman", "healthcheck", "run", container], capture_output=True, check=False)

    def containers(self) -> list[str]:
        """Ids of the lasting services' containers."""
        label = "label=io.podman.compose.project=fedcrucible-smoke"
        found = subprocess.run(
            ["podman", "ps", "--quiet", "--filter", label, "--filter", "status=running"],
            capture_output=True,
            text=True,
            check=False,
        )
        return found.stdout.split()

    def require_confinement(self) -> None:
        """Four healthy containers, none of them root's, none with a root file system that can be written."""
        containers = self.containers()
        if len(containers) != 4:
            raise SystemExit(f"{len(containers)} containers run, not 4")
        code = "import os; os.getuid() or exit(1)\ntry: open('/opt/x', 'w')\nexcept OSError: exit(0)\nexit(2)"
        for container in containers:
            output(["podman", "exec", container, "python", "-c", code], self.folder, self.environment)
            output(["podman", "healthcheck", "run", container], self.folder, self.environment)

    def remove(self) -> None:
        """Nothing is left but the images."""
        profiles = [word for name in ("setup", "malicious", "submit") for word in ("--profile", name)]
        command = ["podman-compose", *profiles, "-f", "compose.yml", "down", "--volumes", "--timeout", "20"]
        subprocess.run(command, cwd=self.folder, env=self.environment, check=False)


def output(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    """The standard output of a command; ends the program where it fails."""
    print("$", shlex.join(command[:8]), "..." if len(command) > 8 else "", file=sys.stderr, flush=True)
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"exit code {done.returncode}: {shlex.join(command)}\n{done.stdout}")
    return done.stdout


def digest(said: str) -> str:
    """The final model's digest in the result of a run, the one line that is a JSON object."""
    line = next(line for line in reversed(said.splitlines()) if line.startswith("{"))
    return str(json.loads(line)["sha256"])


def main() -> int:
    """Build, run, compare, remove; 1 where the models differ."""
    missing = [name for name in ("podman", "podman-compose") if shutil.which(name) is None]
    if missing:
        print(f"skipped: {' and '.join(missing)} not found; nothing was built or run")
        return 0
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    version, options = str(project["version"]), os.environ.get("DOCKER_SMOKE_BUILD", "")
    for target in TARGETS if options != "none" else ():
        names = ["--file", "docker/Dockerfile", "--target", target, "--tag", f"fedcrucible-{target}:{version}"]
        # Docker's format of images: the other one has no health checks.
        output(["podman", "build", "--format", "docker", *names, *shlex.split(options), "."], ROOT, dict(os.environ))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # a time limit must not leave containers behind
    with tempfile.TemporaryDirectory(prefix="fedcrucible-") as folder:
        smoke = Smoke(Path(folder), version)
        try:
            smoke.prepare()
            federated, alone = smoke.run()
        finally:
            smoke.remove()
    for target in TARGETS:
        size = output(
            ["podman", "image", "inspect", "--format", "{{.Size}}", f"fedcrucible-{target}:{version}"],
            ROOT,
            dict(os.environ),
        )
        print(f"image {target}: {int(size) / 1e9:.2f} GB")
    same = federated == alone
    print(f"final model: {federated} in containers, {alone} in-process: {'equal' if same else 'DIFFERENT'}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
