"""Keys of a deployment: what is missing is made, what is there stays, half of something is an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedcrucible.deploy.keys import make_keys, public_keys
from fedcrucible.deploy.topology import Site, Topology
from fedcrucible_core.config.errors import ConfigError

TOPOLOGY = Topology(sites=(Site(name="a", partition=0), Site(name="b", partition=1)))


def test_missing_files_are_made_once(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    made = make_keys(TOPOLOGY, folder)
    assert sorted(path.name for path in made) == ["a", "a.pub", "b", "b.pub", "ca.crt", "server.key", "server.pem"]
    before = {path: path.read_bytes() for path in made}
    (folder / "b").unlink()
    (folder / "b.pub").unlink()
    assert [path.name for path in make_keys(TOPOLOGY, folder)] == ["b", "b.pub"]
    assert {path: content for path, content in before.items() if path.read_bytes() != content}.keys() == {
        folder / "b", folder / "b.pub",
    }  # fmt: skip
    assert make_keys(TOPOLOGY, folder) == []


def test_sites_may_bring_their_own(tmp_path: Path) -> None:
    make_keys(TOPOLOGY, tmp_path, nodes=False)
    with pytest.raises(ConfigError, match=r"a\.pub is missing: the public key of site a"):
        public_keys(TOPOLOGY, tmp_path)


@pytest.mark.parametrize(("gone", "message"), [("ca.crt", "ca.crt missing"), ("b.pub", "b.pub missing beside b")])
def test_half_of_a_pair_is_never_replaced(tmp_path: Path, gone: str, message: str) -> None:
    make_keys(TOPOLOGY, tmp_path)
    (tmp_path / gone).unlink()
    with pytest.raises(ConfigError, match=message):
        make_keys(TOPOLOGY, tmp_path)
    assert not (tmp_path / gone).exists()
