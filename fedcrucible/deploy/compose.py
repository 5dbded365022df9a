"""Compose files made from the description of a deployment: everything on one machine, or one machine's part."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml  # Flower itself requires it

from fedcrucible.deploy.topology import NODE_PORT, ONE_SHOT, SUPERLINK, Site, Topology, server_files
from fedcrucible.engines.flower.launch import LOCAL_POLL, superlink_command, supernode_command

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
    return _dumped(
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
        keys, register, submit = ONE_SHOT
        sites = topology.sites
        published = [f"{site.name}.pub" for site in sites]
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
        self.services[register] = {
            **self._common(SERVER, topology.containers.server_memory, restart="no"),
            "command": [*deploy, "register", DESCRIPTION, *beside],
            "secrets": self._secret("ca.crt", *published),
            "volumes": self._described(),  # it waits for the SuperLink by itself: podman < 4.6 can't wait for health
            "healthcheck": {"disable": True},
        }
        self.services[keys] = {
            **self._common(SERVER, topology.containers.server_memory, restart="no"),
            "command": [*deploy, "keys", DESCRIPTION, "--keys", "/keys", *(() if one_machine else ("--server-only",))],
            "network_mode": "none",
            "volumes": [f"{_beside(topology.keys)}:/keys", *self._described()],
            "healthcheck": {"disable": True},
            "profiles": [SETUP],
        }
        self.services[submit] = {
            **self._common(SERVER, topology.containers.server_memory, restart="no"),
            "entrypoint": [*deploy, "run", DESCRIPTION, *beside],
            "command": [],
            "secrets": self._secret("ca.crt"),
            "volumes": [*self._volumes(runs="/runs"), *self._described()],
            "healthcheck": {"disable": True},
            "profiles": [SUBMIT],
        }

    def node(self, site: Site, *, alone: bool) -> None:
        """One SuperNode; ``alone`` on its machine it dials the server by name, else by the service's."""
        topology = self.topology
        dialled = f"{SUPERLINK}:{topology.superlink.port}"
        if alone:
            dialled = "${FEDCRUCIBLE_SUPERLINK:-" + topology.dialled + "}"
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

    def text(self, only: str) -> str:
        """The file, with a first line that says how it is made anew."""
        part = f" --only {only}" if only else ""
        made = f"Made by `fedcrucible deploy compose {self.description}{part}`; docs/deployment.md says how to use it."
        table: Table = {"name": self.topology.name, "services": self.services}
        if self.volumes:
            table["volumes"] = self.volumes
        return _dumped(made, {**table, "secrets": self.secrets})

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


class _Plain(yaml.SafeDumper):
    """Every table in full: a reader of one service needs no other."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _dumped(comment: str, table: Table) -> str:
    head: Sequence[str] = [f"# {line}" for line in comment.split("\n")]
    body = yaml.dump(table, Dumper=_Plain, sort_keys=False, default_flow_style=False, width=120)
    return "\n".join([*head, body.replace(": null\n", ":\n")])
