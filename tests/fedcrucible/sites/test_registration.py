"""A real SuperLink: it lets in whom the roster lets in, preflight finds out, and a revoked site is out at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fedcrucible.engines.flower.command import FlowerRunError
from fedcrucible.engines.flower.deployment import Deployment, NodeSpec
from fedcrucible.engines.flower.keys import create_server_certificate
from fedcrucible.engines.flower.node_keys import fingerprint, public_line, spoken_fingerprint
from fedcrucible.engines.flower.superlink_access import UNREGISTERED, SuperLinkAccess
from fedcrucible.health import node_key
from fedcrucible.sites.address import parse_address
from fedcrucible.sites.request import make_request

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with Deployment([NodeSpec(0)], tmp_path_factory.mktemp("keys")) as running:
        yield running


@pytest.fixture(scope="module")
def where(deployment: Deployment) -> tuple[str, Path]:
    """The SuperLink's address, and its CA."""
    assert deployment.keys is not None
    return f"127.0.0.1:{deployment.port}", deployment.keys / "ca.crt"


def _state(where: tuple[str, Path], private: Path) -> Any:
    """The preflight's finding on a key, from a real SuperLink."""
    _, key = node_key.examine(private)
    assert key is not None
    return node_key.registered(parse_address(where[0]), where[1].read_text(), key)


def test_a_site_comes_and_goes(
    fedcrucible, deployment: Deployment, where: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    private, path, asked = make_request("hospital-a", tmp_path / "site")
    options = ("--superlink", where[0], "--ca", where[1])
    unknown = _state(where, private)
    assert unknown.status == "fail"
    assert "never registered, revoked" in unknown.detail

    approve = ("site", "approve", path, "--fingerprint", spoken_fingerprint(asked.key))
    let_in = fedcrucible(*approve, *options)
    assert let_in.exit_code == 0, let_in.output
    assert _state(where, private).status == "ok"
    again = fedcrucible(*approve)
    assert (again.exit_code, again.stdout) == (0, let_in.stdout), "the same node, and the roster remembers where"

    rows = {row["site"]: row for row in json.loads(fedcrucible("site", "list", "--json").stdout)["rows"]}
    assert rows["hospital-a"]["superlink"] == "registered"
    strangers = json.loads(fedcrucible("site", "list", "--json").stdout)["strangers"]
    assert [one.split()[1] for one in strangers] == ["(node-0)"], "registered by hand, on no roster"

    out = fedcrucible("site", "revoke", "hospital-a")
    assert (out.exit_code, "unregistered  now" in out.stdout) == (0, True), out.output
    assert _state(where, private).status == "fail"
    assert "doesn't let" not in out.stdout
    twice = fedcrucible("site", "revoke", "hospital-a")
    assert (twice.exit_code, "does not let this key in anyway" in twice.stdout) == (0, True)
    back = fedcrucible(*approve)
    assert (back.exit_code, "was revoked" in back.stderr) == (2, True)
    assert _state(where, private).status == "fail"


def test_asking_for_an_online_key_changes_nothing(deployment: Deployment, where: tuple[str, Path]) -> None:
    private = where[1].parent / "node-0"
    _, key = node_key.examine(private)
    assert key is not None
    name = fingerprint(key.public_key())
    access = SuperLinkAccess(*where)
    deployment_node = _wait_online(access, name)
    assert _state(where, private).status == "ok"
    assert access.nodes()[name] == deployment_node
    assert deployment.supernodes[0].poll() is None


def test_a_revoked_node_ends_by_itself(
    fedcrucible, deployment: Deployment, where: tuple[str, Path], tmp_path: Path
) -> None:
    _, path, asked = make_request("node-0", where[1].parent)
    roster = ("--roster", tmp_path / "roster.json")
    told = ("--fingerprint", spoken_fingerprint(asked.key))
    known = fedcrucible("site", "approve", path, *told, *roster, "--superlink", where[0], "--ca", where[1])
    assert known.exit_code == 0, known.output
    assert fedcrucible("site", "revoke", "node-0", *roster).exit_code == 0
    assert deployment.supernodes[0].wait(timeout=90) == 0, "Flower ends such a node without an error"
    access = SuperLinkAccess(*where)
    assert access.nodes()[fingerprint(asked.key)].state == UNREGISTERED
    again = access.register({"node-0": public_line(asked.key)})["node-0"]
    assert (again.new, "takes it no more" in again.refused) == (False, True)


def test_a_client_in_plain_text_gets_no_answer(where: tuple[str, Path]) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"http://{where[0]}/health", trust_env=False)


def test_many_keys_at_once_and_what_is_known_stays(where: tuple[str, Path], tmp_path: Path) -> None:
    access = SuperLinkAccess(*where)
    keys = {name: public_line(make_request(name, tmp_path)[2].key) for name in ("first", "second", "third")}
    one = access.register({"first": keys["first"]})
    assert one["first"].new
    three = access.register(keys)
    assert [done.new for done in three.values()] == [False, True, True]
    assert three["first"].node == one["first"].node
    assert [done.node.name for done in three.values()] == list(keys)
    create_server_certificate(tmp_path / "other")
    with pytest.raises(FlowerRunError, match=r"can't be asked: ConnectError: .*certificate verify failed"):
        SuperLinkAccess(where[0], tmp_path / "other" / "ca.crt").nodes()


def _wait_online(access: Any, name: str) -> Any:
    import time

    deadline = time.monotonic() + 90
    while (node := access.nodes()[name]).state != "online" and time.monotonic() < deadline:
        time.sleep(0.5)
    assert node.state == "online"
    return node
