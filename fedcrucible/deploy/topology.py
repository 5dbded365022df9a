"""The one description of a deployment, a TOML file: SuperLink, sites, keys, state, and what containers may use."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from fedcrucible.engines.flower.deployment import NodeSpec
from fedcrucible.engines.flower.keys import LOOPBACK, ServerCertificate
from fedcrucible_core.config.errors import ConfigError, did_you_mean
from fedcrucible_core.config.load import UNCLEAN, is_clean
from fedcrucible_core.config.text_files import read_text

SUPERLINK = "superlink"
"""Name of the SuperLink's process and service; nodes on the same container network dial it by this name."""
ONE_SHOT = ("keys", "register", "submit", "site", "preflight")
"""Services that do one thing and end."""
RESERVED = (SUPERLINK, *ONE_SHOT, "server", "ca")
EVERYWHERE = ("0.0.0.0", "::")
"""Addresses that stand for all of a machine's."""
NODE_PORT = 9094
"""Port of a SuperNode for its own clients, within a container; Flower's default."""

Port = Annotated[int, Field(ge=1, le=65_535)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class SuperLinkTable(_Table):
    """The server."""

    address: str = "127.0.0.1"
    """Which of this machine's addresses it listens on when it is a process: 0.0.0.0 for all."""
    port: Port = 8000
    names: tuple[str, ...] = Field(default=(), strict=False)
    """Names and addresses by which other machines dial it, the first is what their files say; all go into its
    certificate, beside those of this machine and ``superlink``."""
    certificate_days: int = Field(default=365, ge=1, le=3650)

    @field_validator("names", "address")
    @classmethod
    def _hosts(cls, value: tuple[str, ...] | str) -> tuple[str, ...] | str:
        for name in (value,) if isinstance(value, str) else value:
            if not re.fullmatch(r"[A-Za-z0-9._:-]{1,253}", name):
                raise ValueError("host names or addresses, without port")
        return value


class Site(_Table):
    """One client: a SuperNode, its partition, its data."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,40}$")
    partition: int = Field(ge=0)
    role: Literal["benign", "malicious", "by-seed"] = "benign"
    data: str = ""
    """Folder of its data on its machine, relative to the description; none: what ships or the run names."""
    own_data: bool = False
    """Whether the folder is its partition, rather than where the common data set lies."""
    measure_asr: bool | None = None
    """Whether attack success may be measured on its data; not given: only where they are a share of common data."""
    hidden_file: str = ""
    """Of a site that attacks: file of its settings in blind runs, relative to the description; processes only."""
    port: int = Field(default=0, ge=0, le=65_535)
    """Its own port on loopback when it is a process; 0: the SuperLink's plus one plus the partition."""

    @field_validator("name")
    @classmethod
    def _free(cls, value: str) -> str:
        if value in RESERVED:
            raise ValueError(f"another name than {', '.join(RESERVED)}")
        return value

    @field_validator("data", "hidden_file")
    @classmethod
    def _clean(cls, value: str) -> str:
        if not is_clean(value):
            raise ValueError(UNCLEAN)
        if re.search(r"""['"$:]""", value):
            raise ValueError("a place without quotes, dollars and colons in its name")
        return value

    @model_validator(mode="after")
    def _own_data_lies_somewhere(self) -> Self:
        if self.own_data and not self.data:
            raise ValueError("own_data = true needs data, the folder")
        if self.hidden_file and self.role != "malicious":
            raise ValueError("hidden_file is for role = 'malicious'")
        return self


class Containers(_Table):
    """What only compose files need."""

    images: str = Field(default="fedcrucible", pattern=r"^[a-z0-9][a-z0-9._/:-]*$")
    """What images are called before ``-server`` and ``-node``, a registry's name included."""
    context: str = ""
    """Folder of the project, relative to the compose file, from which images are built; empty: they are pulled."""
    cpus: float = Field(default=2.0, gt=0)
    """CPUs that each container may use."""
    server_memory: str = Field(default="4g", pattern=r"^[1-9][0-9]*[kmg]$")
    node_memory: str = Field(default="3g", pattern=r"^[1-9][0-9]*[kmg]$")
    pids: int = Field(default=512, ge=64)
    """Processes and threads of each container."""


class Topology(_Table):
    """A whole deployment. ``folder`` is where the description lies: its relative paths begin there."""

    name: str = Field(default="fedcrucible", pattern=r"^[a-z0-9][a-z0-9_-]{0,40}$")
    superlink: SuperLinkTable = SuperLinkTable()
    sites: tuple[Site, ...] = Field(min_length=1, strict=False)
    keys: str = "keys"
    state: str = "state"
    warm_clients: bool = False
    """Whether clients are forked off a process that has imported PyTorch (``fedcrucible supernode``); Linux only."""
    containers: Containers = Containers()
    folder: Path = Path()

    @model_validator(mode="after")
    def _sites_fit(self) -> Self:
        names, partitions = [site.name for site in self.sites], [site.partition for site in self.sites]
        if len(set(names)) < len(names):
            raise ConfigError("sites.name", names, "no two sites may have the same name")
        if sorted(partitions) != list(range(len(partitions))):
            raise ConfigError("sites.partition", partitions, f"0 to {len(partitions) - 1}, each once")
        ports = [self.superlink.port, *(self.node_port(site) for site in self.sites)]
        if len(set(ports)) < len(ports) or max(ports) > 65_535:
            raise ConfigError("sites.port", ports[1:], f"up to 65535, each once, and not {ports[0]}, the SuperLink's")
        return self

    @property
    def keys_folder(self) -> Path:
        """Where certificates and keys lie on this machine."""
        return self.folder / Path(self.keys).expanduser()

    @property
    def state_folder(self) -> Path:
        """Where the SuperLink's database, logs and the list of processes lie."""
        return self.folder / Path(self.state).expanduser()

    @property
    def dialled(self) -> str:
        """What other machines dial, ``host:port``."""
        return self.at(self.superlink.names[0] if self.superlink.names else "127.0.0.1")

    @property
    def dialled_here(self) -> str:
        """What processes of the SuperLink's own machine dial."""
        bound = self.superlink.address
        return self.at("127.0.0.1" if bound in (*EVERYWHERE, "localhost") else bound)

    def at(self, host: str) -> str:
        """The SuperLink's port on a host."""
        return f"[{host}]:{self.superlink.port}" if ":" in host else f"{host}:{self.superlink.port}"

    @property
    def certificate_names(self) -> tuple[str, ...]:
        """All names in the server's certificate."""
        bound = () if self.superlink.address in EVERYWHERE else (self.superlink.address,)
        return tuple(dict.fromkeys([*self.superlink.names, *bound, SUPERLINK, *LOOPBACK]))

    @property
    def database(self) -> Path:
        """The SuperLink's state on this machine."""
        return self.state_folder / "superlink.db"

    def node_port(self, site: Site) -> int:
        """The port of a site's own process on loopback."""
        return site.port or self.superlink.port + 1 + site.partition

    def data_folder(self, site: Site) -> str:
        """A site's data on its machine, absolute; empty where it has none."""
        return str((self.folder / Path(site.data).expanduser()).resolve()) if site.data else ""

    def node_config(self, site: Site, data: str) -> str:
        """The value of ``--node-config``; ``data`` is where the site's process sees its data."""
        hidden = str((self.folder / Path(site.hidden_file).expanduser()).resolve()) if site.hidden_file else ""
        spec = NodeSpec(site.partition, site.role, data, site.own_data, site.measure_asr, hidden)
        return spec.config(len(self.sites))

    def site(self, name: str) -> Site:
        """The site of a name. Raises ConfigError."""
        for site in self.sites:
            if site.name == name:
                return site
        known = [site.name for site in self.sites]
        raise ConfigError("site", name, f"{did_you_mean(name, known)}sites: {', '.join(known)}")


def server_files(folder: Path) -> ServerCertificate:
    """The server's files in a keys folder, or among a container's secrets: both use the same names."""
    return ServerCertificate(folder / "ca.crt", folder / "server.pem", folder / "server.key")


def load_topology(path: Path) -> Topology:
    """Read and check a description. Raises ConfigError that names the key, the value and what is allowed."""
    try:
        table = tomllib.loads(read_text(path))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError("topology", str(path), f"can't be read as TOML: {error}") from None
    if "folder" in table:
        raise ConfigError("folder", table["folder"], "unknown key; relative paths begin where the description lies")
    try:
        return Topology.model_validate({**table, "folder": path.resolve().parent})
    except ValidationError as error:
        raise _translated(error, table) from None


def _translated(error: ValidationError, table: dict[str, Any]) -> ConfigError:
    """The first problem, as every bad setting is told."""
    first = error.errors()[0]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, ConfigError):
        return cause
    key = ".".join(str(part) for part in first["loc"]) or "topology"
    if first["type"] == "extra_forbidden":
        known = _known(first["loc"][:-1])
        close = did_you_mean(str(first["loc"][-1]), known)
        return ConfigError(key, first["input"], f"unknown key; {close}allowed: {', '.join(known)}")
    if first["type"] == "missing":
        return ConfigError(key, None, "must be given")
    value = first["input"] if first["loc"] else table
    return ConfigError(key, value, first["msg"].removeprefix("Value error, "))


def _known(place: tuple[int | str, ...]) -> list[str]:
    tables: dict[object, type[_Table]] = {"superlink": SuperLinkTable, "sites": Site, "containers": Containers}
    model = tables.get(place[0], Topology) if place else Topology
    return [name for name in model.model_fields if name != "folder"]
