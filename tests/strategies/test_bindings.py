"""Which node may hold which partition, as the operator lists it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flwr.proto.node_pb2 import NodeInfo

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.load import load
from server_app.plan import Plan
from strategies.bindings import fingerprint
from strategies.nodes import TooFewNodesError
from tests.support.node_grid import SETTINGS, NodeGrid, node


def held(grid: NodeGrid) -> tuple[dict[int, int], list[str]]:
    """Partition to number of the node that holds it, and the notes."""
    directory = grid.directory()
    directory.wait(grid)
    return {n.partition: n.node_id - 2 for n in directory.refresh(grid)}, directory.news()


def key(number: int) -> bytes:
    """A node's public key as the SuperLink keeps it."""
    public = ec.derive_private_key(number + 1, ec.SECP384R1()).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def test_a_fingerprint_is_what_ssh_keygen_shows(tmp_path: Path) -> None:
    from fedcrucible.engines.flower.keys import create_node_key

    made = create_node_key(tmp_path, "node")
    try:
        shown = subprocess.run(["ssh-keygen", "-lf", made.public], capture_output=True, text=True, check=True).stdout
    except FileNotFoundError:
        pytest.skip("no ssh-keygen here")
    from cryptography.hazmat.primitives.serialization import load_ssh_public_key

    public = load_ssh_public_key(made.public.read_bytes())
    assert fingerprint(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)) == shown.split()[1]


@pytest.mark.parametrize("by", ["id", "name", "key"])
def test_a_squatter_gets_nothing(by: str) -> None:
    """Node 2 was registered first and claims partition 0, which is node 0's."""
    names: dict[str, list[Any]] = {
        "id": [node(0), node(1)],
        "name": ["clinic", "ward 7"],
        "key": [fingerprint(key(0)), fingerprint(key(1))],
    }
    listed = ", ".join(f"{name}:{partition}" for partition, name in enumerate(names[by]))
    grid = NodeGrid(3, {2: {"partition-id": 0}}, federation__node_partitions=listed)
    grid.infos = {0: {"name": "clinic", "public_key": key(0)}, 1: {"name": "ward 7", "public_key": key(1)}}
    grid.infos[2] = {"registered_at": "0", "public_key": key(2)}
    assert held(grid) == (
        {0: 0, 1: 1},
        [
            "2 of 3 clients take part: no usable node is online for partition 2",
            "node 4 is not used: not listed in federation.node_partitions",
        ],
    )
    assert (2, "query") not in grid.asked, "who may hold nothing isn't asked"


def test_a_listed_node_gets_no_other_partition() -> None:
    listed = f"{node(0)}:0, {node(1)}:1, {node(2)}:2"
    grid = NodeGrid(3, {1: {"partition-id": 0}}, federation__node_partitions=listed)
    partitions, notes = held(grid)
    assert partitions == {0: 0, 2: 2}
    assert notes[1:] == ["node 3 is not used: claims partition 0, but federation.node_partitions gives it partition 1"]


def test_a_name_that_poses_as_an_id_or_a_key_is_no_name() -> None:
    for posing, entry in ((str(node(0)), str(node(0))), (fingerprint(key(0)), fingerprint(key(0)))):
        grid = NodeGrid(3, {2: {"partition-id": 0}}, federation__node_partitions=f"{entry}:0, {node(1)}:1")
        grid.infos = {0: {"public_key": key(0)}, 2: {"name": posing}}
        grid.online = {1, 2}
        with pytest.raises(TooFewNodesError, match=r"node 4 .*: not listed in federation.node_partitions") as caught:
            held(grid)
        assert ": not online" in str(caught.value)


def test_a_name_of_several_nodes_is_nobodys() -> None:
    grid = NodeGrid(3, {2: {"partition-id": 0}}, federation__node_partitions=f"clinic:0, {node(1)}:1")
    grid.infos = {0: {"name": "clinic"}, 2: {"name": "clinic"}}
    with pytest.raises(TooFewNodesError) as caught:
        held(grid)
    for number in (0, 2):
        assert f"node {node(number)} (clinic): 'clinic' in federation.node_partitions is several" in str(caught.value)


@pytest.mark.parametrize(
    ("listed", "cause"),
    [
        ("clinic", "'clinic' is no entry"),
        ("clinic:0, :1", "':1' is no entry"),
        ("clinic:0,", "'' is no entry"),
        ("clinic:zero, ward:1", "'clinic:zero' is no entry"),
        ("clinic:-1, ward:1", "no entry"),
        ("clinic:3, ward:1", "partitions go from 0 to 2"),
        ("clinic:0, ward:99999999999999999999999", "partitions go from 0 to 2"),
        ("clinic:0, ward:0", "listed already"),
        ("clinic:0, clinic:1", "listed already"),
        ("clinic:0", "lists 1 nodes, but federation.min_replies = 2"),
    ],
)
def test_a_list_that_cant_be_used_is_refused_before_anything_starts(listed: str, cause: str) -> None:
    with pytest.raises(ConfigError, match=r"federation.node_partitions = ") as caught:
        Plan.make(load({**SETTINGS, "federation.node_partitions": listed}))
    assert cause in str(caught.value)


def test_a_list_needs_nodes_that_are_asked() -> None:
    listed = {"federation.node_partitions": "clinic:0, ward:1", "federation.discovery": "order"}
    with pytest.raises(ConfigError, match=r"federation\.discovery is order"):
        Plan.make(load({**SETTINGS, **listed}))


def test_simulated_nodes_have_no_keys_and_need_no_list() -> None:
    assert fingerprint(b"\x00" * 32) == ""
    assert fingerprint(NodeInfo().public_key) == ""
