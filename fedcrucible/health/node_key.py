"""A node's private key: whether it is one, who can read it, and whether the SuperLink knows it."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

from fedcrucible.engines.flower.node_keys import fingerprint, public_line, read_private_key
from fedcrucible.health.finding import Finding
from fedcrucible.sites.address import Address
from fedcrucible_core.config.errors import ConfigError
from fedcrucible_core.config.plain_text import error_text, plain_text

if TYPE_CHECKING:
    import httpx
    from cryptography.hazmat.primitives.asymmetric import ec
    from flwr.supercore.protobuf.client import ProtobufCall, ProtobufClientInterceptor, ProtobufRequestContext

GROUP = "key"
KNOWN, UNKNOWN, VERSION = 2003, 2004, 1001
"""Flower's answers to a node that asks to be activated with an impossible heartbeat interval."""
NO_INTERVAL = 0.0
"""The SuperLink looks the key up first and refuses this then: nothing changes there, be the node online or not."""


def examine(path: Path) -> tuple[list[Finding], ec.EllipticCurvePrivateKey | None]:
    """Findings on the file, and the key where there is one."""
    try:
        key = read_private_key(path)
    except ConfigError as error:
        todo = "`fedcrucible site request NAME` makes one; or name the file of the private key"
        return [Finding(GROUP, "file", "fail", plain_text(error, 500), todo)], None
    found = [Finding(GROUP, "file", "ok", f"{path}, {fingerprint(key.public_key())}")]
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        detail = f"others than its owner may use the key (mode {mode:04o})"
        found.append(Finding(GROUP, "access", "warn", detail, f"chmod 600 {path}"))
    return found, key


def belongs(key: ec.EllipticCurvePrivateKey, wanted: str) -> list[Finding]:
    """A finding where this is not the key that a pack is for."""
    own = fingerprint(key.public_key())
    if own == wanted:
        return []
    detail = f"the pack is for another key, {plain_text(wanted)}"
    return [Finding(GROUP, "pack", "fail", detail, "name the key that was requested, or ask for this site's own pack")]


def registered(address: Address, ca_pem: str, key: ec.EllipticCurvePrivateKey) -> Finding:
    """Whether the SuperLink lets this key in; only to be asked where its certificate is trusted.

    Flower tells a node no difference between a key that was never registered and one that was revoked.
    """
    import httpx

    try:
        answer = _ask(address, ca_pem, key)
    except httpx.HTTPStatusError as error:
        return _meaning(error.response, public_line(key.public_key()))
    except Exception as error:  # httpx's, ssl's, protobuf's: whatever stands at that address
        todo = "try again; if it stays, show this line to who runs the server"
        return Finding(GROUP, "registered", "fail", f"the SuperLink can't be asked: {error_text(error)}", todo)
    return Finding(GROUP, "registered", "warn", f"the SuperLink answers what Flower 1.41 doesn't: {plain_text(answer)}")


def _ask(address: Address, ca_pem: str, key: ec.EllipticCurvePrivateKey) -> object:
    from flwr.proto.fleet_pb2 import ActivateNodeRequest
    from flwr.supercore.primitives.asymmetric import public_key_to_bytes
    from flwr.supernode.fleet_http_client import FleetHttpClient
    from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

    public = key.public_key()
    request = ActivateNodeRequest(public_key=public_key_to_bytes(public), heartbeat_interval=NO_INTERVAL)
    signing: list[ProtobufClientInterceptor] = [NodeAuthHttpInterceptor(key, public), _Versions()]
    with FleetHttpClient.from_server_address(str(address), False, ca_pem.encode(), signing) as client:
        return client.ActivateNode(request)


class _Versions:
    """Says which Flower this node has, as a SuperNode does; Flower's own would end the process on a mismatch."""

    def intercept(self, context: ProtobufRequestContext, call_next: ProtobufCall) -> httpx.Response:
        from flwr.supercore.interceptors.http.utils import add_headers
        from flwr.supercore.runtime_version_compatibility import RuntimeVersionMetadata

        told = RuntimeVersionMetadata.from_local_component("SuperNode").as_metadata()
        add_headers(context.request, dict(told))
        return call_next(context)


def _meaning(answer: httpx.Response, public: str) -> Finding:
    from flwr.supercore.error import FlowerError

    try:
        said = FlowerError.from_json(answer.text)
    except RecursionError:  # nested beyond reason: nothing that Flower writes
        said = None
    if said is not None and said.code == KNOWN:
        return Finding(GROUP, "registered", "ok", "the SuperLink knows this key and lets it in")
    if said is not None and said.code == UNKNOWN:
        detail = "the SuperLink doesn't let this key in: never registered, revoked, or forgotten (no database)"
        todo = f"ask the server for `fedcrucible site list` (it tells which) and give it your public key: {public}"
        return Finding(GROUP, "registered", "fail", detail, todo)
    if said is not None and said.code == VERSION:
        detail = f"the SuperLink refuses this version of Flower: {plain_text(said.public_details or said.message, 300)}"
        return Finding(GROUP, "registered", "fail", detail, "install the server's version of flwr, see the pack")
    if answer.status_code == 401:
        detail = "the SuperLink refuses the signature"
        todo = "the clock, see above; if that is right, is this a SuperLink of Flower 1.41?"
        return Finding(GROUP, "registered", "fail", detail, todo)
    detail = f"answers HTTP {answer.status_code} ({plain_text(answer.text, 100)}): no SuperLink of Flower 1.41"
    return Finding(
        GROUP, "registered", "fail", detail, "is this the SuperLink's port, and its version that of the pack?"
    )
