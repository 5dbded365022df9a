"""Compose files: those that ship are made from their descriptions, and none gives away what it need not."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from fedcrucible.commands.site import KEYS, ROSTER
from fedcrucible.deploy.compose import SECRETS, compose, gpu_overlay
from fedcrucible.deploy.topology import Containers, Site, SuperLinkTable, Topology, load_topology
from fedcrucible_core.config.errors import ConfigError
from fedcrucible_core.rooms import ROOT

SHIPPED = {
    "compose.yml": ("topology.toml", ""),
    "server.yml": ("machines.toml", "server"),
    "client.yml": ("machines.toml", "hospital-a"),
}
ONE_SHOT = {"keys", "register", "submit", "site", "preflight"}
Services = dict[str, dict[str, Any]]


@cache
def shipped(name: str) -> dict[str, Any]:
    table: dict[str, Any] = yaml.safe_load((ROOT / "docker" / name).read_text(encoding="utf-8"))
    return table


@pytest.fixture(params=SHIPPED)
def file(request: pytest.FixtureRequest) -> dict[str, Any]:
    return shipped(request.param)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_files_are_made_from_their_description(name: str) -> None:
    description, only = SHIPPED[name]
    made = compose(load_topology(ROOT / "docker" / description), description, only)
    part = f" --only {only}" if only else ""
    told = f"`fedcrucible deploy compose docker/{description}{part} > docker/{name}` writes it anew"
    assert (ROOT / "docker" / name).read_text(encoding="utf-8") == made, told


@pytest.mark.parametrize("warm", [False, True])
def test_nodes_look_for_work_often_and_may_keep_their_clients_warm(warm: bool) -> None:
    described = load_topology(ROOT / "docker" / "topology.toml").model_copy(update={"warm_clients": warm})
    service = yaml.safe_load(compose(described, "topology.toml"))["services"]["site-a"]
    begins = ["fedcrucible", "supernode", "--superlink"] if warm else ["flower-supernode", "--superlink"]
    assert service["command"][: len(begins)] == begins
    assert service["environment"] == {"FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.1"}


def test_the_gpu_file_adds_to_services_that_are_there() -> None:
    assert (ROOT / "docker" / "gpu.yml").read_text(encoding="utf-8") == gpu_overlay(
        load_topology(ROOT / "docker" / "topology.toml")
    )
    gpus, services = shipped("gpu.yml")["services"], shipped("compose.yml")["services"]
    assert gpus.keys() == services.keys() - ONE_SHOT
    (device,) = gpus["site-a"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}


def test_no_service_may_more_than_it_must(file: dict[str, Any]) -> None:
    for name, service in file["services"].items():
        assert re.fullmatch(r"\$\{\w+:-[1-9]\d*\}:\$\{\w+:-[1-9]\d*\}", service["user"]), name
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["tmpfs"], name
        assert not service.keys() & {"privileged", "cap_add", "pid", "ipc", "devices"}, name
        assert service.get("network_mode") in (None, "none"), name
        limits = service["deploy"]["resources"]["limits"]
        assert float(limits["cpus"]) > 0, name
        assert limits["memory"], name
        assert limits["pids"] > 0, name


def test_every_lasting_service_says_how_it_is(file: dict[str, Any]) -> None:
    for name, service in file["services"].items():
        if name in ONE_SHOT:
            assert service["healthcheck"] == {"disable": True}
            assert service["restart"] == "no"
        else:
            assert service["healthcheck"]["test"][:4] == ["CMD", "python", "-m", "fedcrucible.deploy.healthcheck"]
            assert service["restart"] == "unless-stopped"


def test_only_the_superlink_is_published_and_on_loopback(file: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in file["services"].items() if "ports" in service}
    assert published in ({}, {"superlink": ["${FEDCRUCIBLE_BIND:-127.0.0.1}:${FEDCRUCIBLE_PORT:-8000}:8000"]})


def test_secrets_are_defined_used_and_from_the_keys_folder(file: dict[str, Any]) -> None:
    used = {secret for service in file["services"].values() for secret in service.get("secrets", [])}
    assert used == file["secrets"].keys()
    assert all(secret == {"file": f"./keys/{name}"} for name, secret in file["secrets"].items())
    for service in file["services"].values():
        named = {word for word in service["command"] if str(word).startswith(f"{SECRETS}/")}
        assert {Path(word).name for word in named} <= set(service.get("secrets", []))


def test_a_private_key_is_its_owner_s_alone() -> None:
    services: Services = shipped("compose.yml")["services"]
    sites = services.keys() - {"superlink", *ONE_SHOT}
    for name, service in services.items():
        private = {secret for secret in service.get("secrets", []) if secret in sites or secret.endswith(".key")}
        assert private == ({name} if name in sites else {"server.key"} if name == "superlink" else set()), name


def test_volumes_are_defined_and_no_site_shares_one(file: dict[str, Any]) -> None:
    named: dict[str, list[str]] = {}
    for name, service in file["services"].items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if not source.startswith((".", "/", "$")):
                named.setdefault(source, []).append(name)
    assert named.keys() == file["volumes"].keys()
    for source, users in named.items():
        if source.endswith("-cache"):
            assert set(users) - {"preflight"} == {source.removesuffix("-cache")}


def test_tls_and_authentication_can_not_be_forgotten(file: dict[str, Any]) -> None:
    for name, service in file["services"].items():
        words = [str(word) for word in service["command"]]
        assert "--insecure" not in words
        if name == "superlink":
            assert {"--ssl-certfile", "--ssl-keyfile", "--enable-supernode-auth", "--database"} <= set(words)
        elif name not in ONE_SHOT:
            assert {"--root-certificates", "--auth-supernode-private-key"} <= set(words)


def test_attackers_start_by_profile_only() -> None:
    services: Services = shipped("compose.yml")["services"]
    by_profile = {name: service["profiles"] for name, service in services.items() if "profiles" in service}
    assert by_profile == {"keys": ["setup"], "submit": ["submit"], "site-x": ["malicious"]}
    assert "role='malicious'" in services["site-x"]["command"][services["site-x"]["command"].index("--node-config") + 1]


def test_a_machine_of_its_own_dials_the_server_and_reads_its_data() -> None:
    services = shipped("client.yml")["services"]
    assert services.keys() == {"hospital-a", "site", "preflight"}
    service = services["hospital-a"]
    command: list[str] = service["command"]
    assert command[command.index("--superlink") + 1] == "${FEDCRUCIBLE_SUPERLINK:-superlink.example.org:8000}"
    config = shlex.split(command[command.index("--node-config") + 1])
    assert config[-2:] == ["data-dir=/data", "own-data=true"]
    assert "${FEDCRUCIBLE_DATA:-/data/hospital-a}:/data:ro" in service["volumes"]
    assert "depends_on" not in service
    assert shipped("server.yml")["services"].keys() == {"superlink", "keys", "submit", "site"}
    assert services["preflight"]["entrypoint"] == [
        *("fedcrucible", "preflight", "--superlink", "${FEDCRUCIBLE_SUPERLINK:-superlink.example.org:8000}"),
        *("--ca", "/run/secrets/ca.crt", "--key", "/run/secrets/hospital-a", "--data", "/data"),
    ]
    assert services["preflight"]["secrets"] == service["secrets"]


def test_sites_are_let_in_without_an_installation_and_no_key_leaves_its_machine() -> None:
    at_site, at_server = (shipped(name)["services"]["site"] for name in ("client.yml", "server.yml"))
    for service, default in ((at_site, KEYS), (at_server, ROSTER.parent)):
        assert service["entrypoint"] == ["fedcrucible", "site"]
        assert service["profiles"] == ["setup"]
        assert service["volumes"] == [f"./{default}:{service['working_dir']}/{default}"], "where the command looks"
    assert "secrets" not in at_site
    assert at_server["secrets"] == ["ca.crt"], "for packs; no private key is there"
    assert not any(name.endswith(".pub") for name in shipped("server.yml")["secrets"]), "the roster has the keys"
    aliases = shipped("server.yml")["services"]["superlink"]["networks"]["default"]["aliases"]
    assert aliases == ["superlink.example.org"], "what packs name leads to it from beside it too"
    assert "networks" not in shipped("compose.yml")["services"]["superlink"]


def test_names_of_images_folders_and_ports_are_the_description_s() -> None:
    topology = Topology(
        name="trial",
        superlink=SuperLinkTable(port=9000),
        sites=(Site(name="a", partition=0, data="images"),),
        keys="/etc/keys",
        containers=Containers(images="registry.example.org/lab/fedcrucible", node_memory="8g"),
    )
    made = yaml.safe_load(compose(topology, "trial.toml"))
    superlink, site = made["services"]["superlink"], made["services"]["a"]
    assert superlink["ports"] == ["${FEDCRUCIBLE_BIND:-127.0.0.1}:${FEDCRUCIBLE_PORT:-9000}:9000"]
    assert site["image"].startswith("registry.example.org/lab/fedcrucible-node:")
    assert "build" not in site
    assert site["volumes"] == ["a-cache:/cache", "./images:/data:ro"]
    assert site["deploy"]["resources"]["limits"]["memory"] == "8g"
    assert made["secrets"]["a"] == {"file": "/etc/keys/a"}
    with pytest.raises(ConfigError, match="site = 'b'"):
        compose(topology, "trial.toml", "b")
