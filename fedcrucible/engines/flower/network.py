"""Which machines a deployment's processes run on, and how these reach each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Network:
    """By default one machine, where everybody dials loopback.

    A *prefix* is what a command begins with, so that it runs on another machine, or in another network namespace of
    this one: ``("ip", "netns", "exec", NAME)``.  All machines see the same files.
    """

    address: str = "127.0.0.1"
    """What the SuperLink listens on, and this process dials."""
    name: str = "127.0.0.1"
    """What nodes dial."""
    server: Sequence[str] = ()
    """The SuperLink's prefix."""
    nodes: Mapping[int, Sequence[str]] = field(default_factory=dict)
    """Each node's prefix, by partition; none: this machine."""

    @property
    def names(self) -> tuple[str, ...]:
        """All names that the server's certificate must hold."""
        return tuple(dict.fromkeys((self.name, self.address)))
