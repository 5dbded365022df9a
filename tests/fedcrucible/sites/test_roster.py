"""Who is let in: fingerprints, twins, and those who were let out for good."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedcrucible.engines.flower.node_keys import fingerprint, spoken_fingerprint
from fedcrucible.sites.request import SiteRequest, make_request
from fedcrucible.sites.roster import node_partitions, opened, read_roster
from fedcrucible_core.config.errors import ConfigError
from fedcrucible_core.config.load import load
from fedcrucible_core.records.lock import FolderBusyError
from strategies.bindings import Bindings


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "server" / "roster.json"


def _approve(path: Path, request: SiteRequest) -> None:
    with opened(path) as roster:
        roster.approve(request, spoken_fingerprint(request.key))


def test_an_approved_site_is_on_the_disk_once(path: Path, asked: SiteRequest) -> None:
    _approve(path, asked)
    before = path.read_bytes()
    _approve(path, asked)
    assert path.read_bytes() == before
    (site,) = read_roster(path).sites
    assert (site.site, site.status, site.fingerprint) == ("hospital-a", "approved", fingerprint(asked.key))


def test_another_fingerprint_is_refused_and_says_what_to_think(path: Path, asked: SiteRequest, tmp_path: Path) -> None:
    other = make_request("hospital-b", tmp_path / "b")[2]
    with opened(path) as roster, pytest.raises(ConfigError, match="somebody has exchanged the request"):
        roster.approve(asked, fingerprint(other.key))
    assert not path.exists()


def test_twins_are_refused(path: Path, asked: SiteRequest, tmp_path: Path) -> None:
    _approve(path, asked)
    same_name = make_request("hospital-a", tmp_path / "other")[2]
    with pytest.raises(ConfigError, match=r"approved with another key.*site revoke hospital-a"):
        _approve(path, same_name)
    site = tmp_path / "site"
    (site / "hospital-b").write_bytes((site / "hospital-a").read_bytes())
    same_key = make_request("hospital-b", site)[2]
    with pytest.raises(ConfigError, match="this key is hospital-a's already"):
        _approve(path, same_key)
    assert len(read_roster(path).sites) == 1


def test_a_revoked_key_never_comes_back_and_a_new_one_does(path: Path, asked: SiteRequest, tmp_path: Path) -> None:
    _approve(path, asked)
    with opened(path) as roster:
        roster.revoke("hospital-a", "laptop stolen")
        assert roster.revoke("hospital-a", "again").reason == "laptop stolen"
    with pytest.raises(ConfigError, match=r"was revoked at 2.*must make a new key"):
        _approve(path, asked)
    _approve(path, make_request("hospital-a", tmp_path / "new")[2])
    assert [site.status for site in read_roster(path).sites] == ["revoked", "approved"]


def test_no_two_sites_share_a_partition(path: Path, asked: SiteRequest, tmp_path: Path) -> None:
    _approve(path, asked)
    _approve(path, make_request("hospital-b", tmp_path / "b")[2])
    with opened(path) as roster:
        roster.assign("hospital-a", 1, 2)
        with pytest.raises(ConfigError, match="is hospital-a's"):
            roster.assign("hospital-b", 1, 2)
        with pytest.raises(ConfigError, match="allowed: 0 to 1"):
            roster.assign("hospital-b", 2, 2)
        roster.assign("hospital-b", 0, 2)
        listed = node_partitions(roster.roster)
        roster.revoke("hospital-b")
        with pytest.raises(ConfigError, match="was revoked"):
            roster.assign("hospital-b", 0, 2)
    bindings = Bindings.of(load({"federation.node_partitions": listed, "federation.clients": 2}).federation)
    assert bindings is not None
    assert sorted(bindings.partitions.values()) == [0, 1]
    assert node_partitions(read_roster(path)) == f"{fingerprint(asked.key)}:1"


def test_an_unknown_site_is_one_clear_error(path: Path, asked: SiteRequest) -> None:
    with opened(path) as roster, pytest.raises(ConfigError, match="isn't on the roster"):
        roster.revoke("hospital-a")
    _approve(path, asked)
    with opened(path) as roster, pytest.raises(ConfigError, match="did you mean 'hospital-a'"):
        roster.revoke("hospital-aa\x1b")


def test_one_writer_at_a_time(path: Path) -> None:
    with opened(path), pytest.raises(FolderBusyError), opened(path):
        pass


def test_a_damaged_roster_is_not_overwritten(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("{")
    with pytest.raises(ConfigError, match=r"roster = .*no JSON"), opened(path):
        pass
    assert path.read_text() == "{"
