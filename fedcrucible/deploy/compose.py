"""Compose files made from the description of a deployment: everything on one machine, or one machine's part."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fedcrucible.deploy.topology import NODE_PORT, ONE_SHOT, SUPERLINK, Site, Topology, server_files
from fedcrucible.deploy.yaml_text import dumped
from fedcrucible.engines.flower.launch import LOCAL_POLL, superlink_command, supernode_command
from fedcrucible_core.config.errors import ConfigError

SERVER = "server"
"""The part of the server's machine; a site's part goes by the site's name."""
SECRETS = Path("/run/secrets")
DESCRIPTION = "/etc/fedcrucible/topology.toml"
MALICIOUS = "malicious"
"""The profile that starts attacking sites too."""
SETUP, SUBMIT = "setup", "submit"
"""Profiles of the services that are run by hand, once or for each run."""
USER = "${FEDCRUCIBLE_UID:-10001}:${FEDCRUCIBLE_GID:-10001}"

Table = dict[str, Any]


def compose(topology: Topology, description: str, only: str = "") -> str:
    """The compose file of a description that lies beside it under the name ``description``.

    ``only``: everything by default, ``server`` for that machine's part, a site's name for its own.  Raises ConfigError.
    """
    file = _Compose(topology, description)
    if only and only != SERVER:
        file.node(topology.site(only), alone=True)
    else:
        file.server(one_machine=not only)
        for site in topology.sites if not only else ():
            file.node(site, alone=False)
    return file.text(only)


def gpu_overlay(topology: Topology, only: str = "") -> str:
    """A second file that reserves one NVIDIA GPU for each service that trains or aggregates."""
    names = [topology.site(only).name] if only and only != SERVER else [SUPERLINK]
    names += [] if only else [site.name for site in topology.sites]
    devices = [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]
    reserved = {"deploy": {"resources": {"reservations": {"devices": devices}}}}
    return dumped(
        "One NVIDIA GPU for each service that trains or aggregates: docker compose -f FILE -f THIS up -d.\n"
        "Build the images with CUDA first: --build-arg TORCH_INDEX=..., see docs/deployment.md.",
        {"services": dict.fromkeys(names, reserved)},
    )


class _Compose:
    """One compose file while it grows."""

    def __init__(self, topology: Topology, description: str) -> None:
        self.topology = topology
        self.description = description
        self.services: dict[str, Table] = {}
        self.volumes: dict[str, None] = {}
        self.secrets: dict[str, Table] = {}

    def server(self, *, one_machine: bool) -> None:
        """SuperLink and the services that do one thing: keys, registration, submission."""
        topology, port = self.topology, self.topology.superlink.port
        keys, register, submit, *_ = ONE_SHOT
        published = [f"{site.name}.pub" for site in topology.sites]
        deploy = ("fedcrucible", "deploy")
        beside = ("--superlink", f"{SUPERLINK}:{port}", "--keys", str(SECRETS))
        self.services[SUPERLINK] = {
            **self._common(SERVER, topology.containers.server_memory),
            "command": superlink_command(server_files(SECRETS), "0.0.0.0", port, Path("/state/superlink.db")),
            "environment": {"FLWR_HOME": "/state/flwr", **LOCAL_POLL},
            "ports": ["${FEDCRUCIBLE_BIND:-127.0.0.1}:${FEDCRUCIBLE_PORT:-" + f"{port}}}:{port}"],
            "secrets": self._secret("ca.crt", "server.pem", "server.key"),
            "volumes": self._volumes(state="/state", runs="/runs", cache="/cache"),
            "healthcheck": _health(f"https://127.0.0.1:{port}/health", str(SECRETS / "ca.crt")),
        }
        names = [name for name in topology.superlink.names if not re.fullmatch(r"[0-9.]+|.*:.*", name)]  # no addresses
        if names and not one_machine:  # the roster's address, which packs hold, must lead there from beside it too
            self.services[SUPERLINK]["networks"] = {"default": {"aliases": names}}
        if one_machine:
            self.services[register] = {
                **self._once(SERVER),
                "command": [*deploy, "register", DESCRIPTION, *beside],
                "secrets": self._secret("ca.crt", *published),
                "volumes": self._described(),  # it waits for the SuperLink itself: podman < 4.6 can't wait for health
            }
        else:
            self._sites(SERVER, "sites", secrets=["ca.crt"])
        self.services[keys] = {
            **self._once(SERVER),
            "command": [*deploy, "keys", DESCRIPTION, "--keys", "/keys", *(() if one_machine else ("--server-only",))],
            "network_mode": "none",
            "volumes": [f"{_beside(topology.keys)}:/keys", *self._described()],
            "profiles": [SETUP],
        }
        self.services[submit] = {
            **self._once(SERVER),
            "entrypoint": [*deploy, "run", DESCRIPTION, *beside],
            "command": [],
            "secrets": self._secret("ca.crt"),
            "volumes": [*self._volumes(runs="/runs"), *self._described()],
            "profiles": [SUBMIT],
        }

    def node(self, site: Site, *, alone: bool) -> None:
        """One SuperNode; ``alone`` on its machine it dials the server by name, else by the service's."""
        topology = self.topology
        dialled = f"{SUPERLINK}:{topology.superlink.port}"
        if alone:
            dialled = "${FEDCRUCIBLE_SUPERLINK:-" + topology.dialled + "}"
        if site.hidden_file:
            allowed = "compose files of ours hand no such file to a container; mount it yourself, or use `deploy up`"
            raise ConfigError("sites.hidden_file", site.hidden_file, allowed)
        config = topology.node_config(site, "/data" if site.data else "")
        service = {
            **self._common("node", topology.containers.node_memory),
            "command": supernode_command(
                dialled, SECRETS / "ca.crt", SECRETS / site.name, config, NODE_PORT, warm=topology.warm_clients
            ),
            "environment": dict(LOCAL_POLL),
            "secrets": self._secret("ca.crt", site.name),
            "volumes": self._volumes(**{f"{site.name}-cache": "/cache"}),
            "healthcheck": _health(f"http://127.0.0.1:{NODE_PORT}/health"),
        }
        if site.data:
            place = _beside(site.data)
            service["volumes"] = [*service["volumes"], "${FEDCRUCIBLE_DATA:-" + place + "}:/data:ro"]
            if not alone:  # one variable can't stand for several sites' folders
                service["volumes"][-1] = f"{place}:/data:ro"
        if not alone:
            service["depends_on"] = {ONE_SHOT[1]: {"condition": "service_completed_successfully"}}
        if site.role == MALICIOUS and not alone:
            service["profiles"] = [MALICIOUS]
        self.services[site.name] = service
        if alone:
            self._sites("node", self.topology.keys)
            *_, preflight = ONE_SHOT
            mounted = [volume for volume in service["volumes"] if volume.endswith(":ro")]
            where = ["--superlink", dialled, "--ca", str(SECRETS / "ca.crt"), "--key", str(SECRETS / site.name)]
            self.services[preflight] = {
                **self._once("node"),
                "entrypoint": ["fedcrucible", "preflight", *where, *(("--data", "/data") if mounted else ())],
                "command": [],
                "secrets": self._secret("ca.crt", site.name),
                "volumes": [*self._volumes(**{f"{site.name}-cache": "/cache"}), *mounted],
                "profiles": [SETUP],
            }

    def _sites(self, kind: str, folder: str, secrets: Sequence[str] = ()) -> None:
        """`fedcrucible site` of one side, in a folder of the machine that both hold: keys there, the roster here."""
        *_, name, _ = ONE_SHOT
        self.services[name] = {
            **self._once(kind),
            "entrypoint": ["fedcrucible", "site"],
            "command": [],
            "working_dir": "/work",
            "volumes": [f"{_beside(folder)}:/work/{Path(folder).name}"],
            "profiles": [SETUP],
            **({"secrets": self._secret(*secrets)} if secrets else {}),
        }

    def text(self, only: str) -> str:
        """The file, with a first line that says how it is made anew."""
        part = f" --only {only}" if only else ""
        made = f"Made by `fedcrucible deploy compose {self.description}{part}`; docs/deployment.md says how to use it."
        table: Table = {"name": self.topology.name, "services": self.services}
        if self.volumes:
            table["volumes"] = self.volumes
        return dumped(made, {**table, "secrets": self.secrets})

    def _once(self, kind: str) -> Table:
        """What services have that do one thing and end."""
        containers = self.topology.containers
        memory = containers.server_memory if kind == SERVER else containers.node_memory
        return {**self._common(kind, memory, restart="no"), "healthcheck": {"disable": True}}

    def _common(self, kind: str, memory: str, restart: str = "unless-stopped") -> Table:
        """What all services have: no rights, no writable root, limits."""
        containers = self.topology.containers
        service: Table = {"image": f"{containers.images}-{kind}:{version('fedcrucible')}"}
        if containers.context:
            service["build"] = {"context": containers.context, "dockerfile": "docker/Dockerfile", "target": kind}
        limits = {"cpus": str(containers.cpus), "memory": memory, "pids": containers.pids}
        return service | {
            "user": USER,
            "init": True,
            "read_only": True,
            "tmpfs": ["/tmp:mode=1777,size=1g"],
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges:true"],
            "restart": restart,
            "logging": {"driver": "json-file", "options": {"max-size": "10m", "max-file": "5"}},
            "deploy": {"resources": {"limits": limits}},
        }

    def _secret(self, *names: str) -> list[str]:
        """Secrets of one service, and where they lie on this machine: each is mounted as /run/secrets/NAME."""
        for name in names:
            self.secrets[name] = {"file": f"{_beside(self.topology.keys)}/{name}"}
        return list(names)

    def _volumes(self, **places: str) -> list[str]:
        """Named volumes by where they are mounted; no site shares one with another, or with the server."""
        self.volumes |= dict.fromkeys(places)
        return [f"{name}:{place}" for name, place in places.items()]

    def _described(self) -> list[str]:
        return [f"./{self.description}:{DESCRIPTION}:ro"]


def _beside(folder: str) -> str:
    """A folder as compose reads it: a name alone would be a volume's."""
    return folder if folder.startswith(("/", "~", ".")) else f"./{folder}"


def _health(*arguments: str) -> Table:
    test = ["CMD", "python", "-m", "fedcrucible.deploy.healthcheck", *arguments]
    return {"test": test, "interval": "30s", "timeout": "10s", "start_period": "60s", "retries": 3}
