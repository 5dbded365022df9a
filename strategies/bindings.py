"""Which node may hold which partition, as the operator lists it (``federation.node_partitions``)."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from flwr.proto.node_pb2 import NodeInfo

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.sections import FederationSection

KEY = "federation.node_partitions"
FORMAT = "allowed: NODE:PARTITION by commas, e.g. 'hospital-a:0, hospital-b:1'"


@dataclass(frozen=True)
class Bindings:
    """Partition by node: a node id, the ``SHA256:...`` fingerprint of a node's public key, or its registered name."""

    partitions: dict[str, int]

    @classmethod
    def of(cls, settings: FederationSection) -> Bindings | None:
        """What the settings list; None where they list nothing. Raises ConfigError for a list that can't be used."""
        text = settings.node_partitions
        if not text.strip():
            return None
        if settings.discovery == "order":
            raise ConfigError(
                KEY, text, "needs nodes that say which partition they hold; federation.discovery is order"
            )
        found: dict[str, int] = {}
        for entry in text.split(","):
            node, partition = _parse(entry, text, settings.clients)
            if node in found or partition in found.values():
                raise ConfigError(KEY, text, f"{entry.strip()!r} names a node or a partition that is listed already")
            found[node] = partition
        if len(found) < settings.min_replies:
            allowed = f"lists {len(found)} nodes, but federation.min_replies = {settings.min_replies}; list more"
            raise ConfigError(KEY, text, allowed)
        return cls(found)

    def entry(self, node: NodeInfo) -> str | None:
        """The entry that is about a node; None where there is none."""
        return next((name for name in _names(node) if name in self.partitions), None)

    def unusable(self, online: Mapping[int, NodeInfo]) -> dict[int, str]:
        """Why some of the nodes may hold no partition at all, by node id."""
        entries = {node_id: self.entry(node) for node_id, node in online.items()}
        times, faults = Counter(entries.values()), {}
        for node_id, entry in entries.items():
            if entry is None:
                faults[node_id] = f"not listed in {KEY}"
            elif times[entry] > 1:
                faults[node_id] = f"{entry!r} in {KEY} is several nodes' name; list their node ids or key fingerprints"
        return faults

    def fault(self, node: NodeInfo, partition: int) -> str:
        """Why a listed node may not hold ``partition``; empty when it may."""
        entry = self.entry(node)
        if entry is None or self.partitions[entry] != partition:
            return f"claims partition {partition}, but {KEY} gives it partition {self.partitions.get(entry or '')}"
        return ""


@lru_cache(maxsize=1024)
def fingerprint(public_key: bytes) -> str:
    """``SHA256:...`` of a key in PEM as the SuperLink keeps it, like ``ssh-keygen -lf``; empty for anything else."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

    try:
        openssh = load_pem_public_key(public_key).public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    except Exception:  # simulated nodes have random bytes for a key
        return ""
    digest = hashlib.sha256(base64.b64decode(openssh.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def _names(node: NodeInfo) -> tuple[str, ...]:
    posing = node.name.isdigit() or node.name.startswith("SHA256:")  # a name that looks like another node's id or key
    names = (str(node.node_id), fingerprint(node.public_key), "" if posing else node.name)
    return tuple(name for name in names if name)


def _parse(entry: str, text: str, clients: int) -> tuple[str, int]:
    node, _, partition = (part.strip() for part in entry.strip().rpartition(":"))  # fingerprints hold a colon
    if not node or not (partition.isascii() and partition.isdigit()):
        raise ConfigError(KEY, text, f"{entry.strip()!r} is no entry; {FORMAT}")
    if len(partition) > 9 or int(partition) >= clients:
        raise ConfigError(KEY, text, f"{entry.strip()!r}: partitions go from 0 to {clients - 1}")
    return node, int(partition)
