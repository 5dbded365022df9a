"""Network namespaces as hosts: a machine each, with its own addresses, ports and loopback, on one switch.

Needs Linux, ``ip`` (Debian's iproute2) and the right to make namespaces; `unavailable` says what is missing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

NAMES = Path("/etc/netns")
"""``ip netns exec`` shows NAME/hosts of this folder as /etc/hosts."""


@dataclass(frozen=True)
class Host:
    """One namespace; ``address`` is its own on the switch."""

    namespace: str
    switch: str
    address: str

    @property
    def prefix(self) -> tuple[str, ...]:
        """What a command begins with to run there."""
        return ("ip", "netns", "exec", self.namespace)

    def link(self, state: str) -> None:
        """Pull the cable out of the switch (``down``) or put it back (``up``)."""
        _ip("-n", self.switch, "link", "set", self.namespace[-8:], state)


@cache
def unavailable() -> str:
    """Why there can be no such hosts here; empty where there can."""
    if shutil.which("ip") is None:
        return "no `ip`: install iproute2"
    name = f"fc{uuid.uuid4().hex[:6]}try"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if tried.returncode:
        return f"`ip netns add` is not permitted: {tried.stderr.strip()}"
    _ip("netns", "del", name)
    return "" if os.access("/etc", os.W_OK) else "/etc/netns can't be written"


@contextmanager
def hosts(names: Sequence[str]) -> Iterator[dict[str, Host]]:
    """Hosts by name, which know each other's names; this machine is on the switch too.

    The switch is a namespace of its own: no firewall of this machine, which may drop what bridges forward, sees it.
    """
    mark = f"fc{uuid.uuid4().hex[:6]}"
    switch, subnet = f"{mark}-switch", f"10.213.{uuid.uuid4().int % 250}"
    made = {name: Host(f"{mark}{index:02d}", switch, f"{subnet}.{index}") for index, name in enumerate(names, 1)}
    try:
        _ip("netns", "add", switch)
        _ip("-n", switch, "link", "add", "bridge", "type", "bridge", "forward_delay", "0")
        _ip("-n", switch, "link", "set", "bridge", "up")
        for host in made.values():
            _ip("netns", "add", host.namespace)
            _plug(host, "eth0")
            _up(("-n", host.namespace), "eth0", host.address)
            _ip("-n", host.namespace, "link", "set", "lo", "up")
            table = "".join(f"{other.address} {name}\n" for name, other in made.items())
            (NAMES / host.namespace).mkdir(parents=True)
            (NAMES / host.namespace / "hosts").write_text(f"127.0.0.1 localhost\n{table}", encoding="ascii")
        here = Host(f"{mark}99", switch, f"{subnet}.254")
        _ip("link", "add", f"{mark}op", "type", "veth", "peer", "name", here.namespace[-8:], "netns", switch)
        _join(here)
        _up((), f"{mark}op", here.address)
        yield made
    finally:
        for namespace in [*(host.namespace for host in made.values()), switch]:
            with suppress(subprocess.CalledProcessError):  # the switch takes its ends of all cables along
                _ip("netns", "del", namespace)
            shutil.rmtree(NAMES / namespace, ignore_errors=True)
        with suppress(OSError):
            NAMES.rmdir()  # ours, where it is empty


def _plug(host: Host, device: str) -> None:
    """A cable from a host to the switch."""
    _ip("-n", host.namespace, "link", "add", device, "type", "veth", "peer", "name", host.namespace[-8:])
    _ip("-n", host.namespace, "link", "set", host.namespace[-8:], "netns", host.switch)
    _join(host)


def _join(host: Host) -> None:
    port = host.namespace[-8:]
    _ip("-n", host.switch, "link", "set", port, "master", "bridge", "up")


def _up(where: Sequence[str], device: str, address: str) -> None:
    _ip(*where, "addr", "add", f"{address}/24", "dev", device)
    _ip(*where, "link", "set", device, "up")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
