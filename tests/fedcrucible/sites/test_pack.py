"""A site's pack: no secret in it, and what it starts is what the server meant."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from fedcrucible.engines.flower.keys import ServerCertificate, create_server_certificate
from fedcrucible.engines.flower.node_keys import spoken_fingerprint
from fedcrucible.sites.arrival import accept
from fedcrucible.sites.authority import authority_fingerprint, is_authority, read_authority
from fedcrucible.sites.pack import SitePack, make_pack, read_pack, write_pack
from fedcrucible.sites.request import SiteRequest, make_request
from fedcrucible.sites.roster import opened
from fedcrucible_core.config.errors import ConfigError


@pytest.fixture
def server(tmp_path: Path) -> ServerCertificate:
    return create_server_certificate(tmp_path / "server")


@pytest.fixture
def pack(tmp_path: Path, server: ServerCertificate, asked: SiteRequest) -> SitePack:
    with opened(tmp_path / "server" / "roster.json") as roster:
        roster.approve(asked, spoken_fingerprint(asked.key))
        site = roster.assign("hospital-a", 1, 3)
    pem = read_authority(server.authority)
    return make_pack(site, "superlink.example.org:8000", pem, 3, data_dir="/data/our images", own_data=True)


def test_it_holds_no_secret(pack: SitePack, server: ServerCertificate, tmp_path: Path) -> None:
    text = write_pack(tmp_path, pack).read_text()
    assert "PRIVATE" not in text
    for secret in (server.key, tmp_path / "site" / "hospital-a"):
        lines = [line for line in secret.read_text().splitlines() if not line.startswith("-----")]
        assert lines
        assert all(line not in text for line in lines)


def test_the_command_is_what_the_server_meant(pack: SitePack, tmp_path: Path) -> None:
    folder = tmp_path / "our keys"
    words = shlex.split(pack.shell(folder))
    assert words == pack.command(folder)
    options = dict(zip(words[1::2], words[2::2], strict=True))
    assert options["--superlink"] == "superlink.example.org:8000"
    assert options["--auth-supernode-private-key"] == str(folder / "hospital-a")
    from flwr.common.config import parse_config_args

    parsed = parse_config_args([options["--node-config"]])
    assert parsed == {
        "partition-id": 1,
        "num-partitions": 3,
        "role": "benign",
        "data-dir": "/data/our images",
        "own-data": True,
    }


@pytest.mark.parametrize("folder", ["/data/o'brien", '/data/"', "/data\n/x", "/" + "x" * 600, "/\x1b[2J"])
def test_folders_that_no_node_config_can_hold_are_refused(folder: str, pack: SitePack, tmp_path: Path) -> None:
    with opened(tmp_path / "server" / "roster.json") as roster, pytest.raises(ConfigError, match=r"^data_dir = "):
        make_pack(roster.roster.sites[0], pack.superlink, pack.ca_pem, 3, data_dir=folder)


def test_a_private_key_is_no_authority(server: ServerCertificate, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(server.certificate.read_bytes() + server.key.read_bytes())
    with pytest.raises(ConfigError, match="holds a private key"):
        read_authority(both)
    for content in (
        b"",
        b"no certificate",
        b"\xff" * 50,
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
    ):
        both.write_bytes(content)
        with pytest.raises(ConfigError, match="holds no certificate"):
            read_authority(both)
    both.write_bytes(b"x" * 10**6)
    with pytest.raises(ConfigError, match="larger than"):
        read_authority(both)


def test_an_arrived_pack_is_accepted_by_the_ca_s_fingerprint(pack: SitePack, tmp_path: Path) -> None:
    path, keys = write_pack(tmp_path, pack), tmp_path / "site"
    found, authority = accept(path, keys, authority_fingerprint(pack.ca_pem).upper().replace(" ", ":"))
    assert (found, authority.read_text()) == (pack, pack.ca_pem)
    accept(path, keys, pack.ca_fingerprint)  # again
    for told in ("", pack.ca_fingerprint[:-1], "\udcff"):
        assert not is_authority(told, pack.ca_pem)
        with pytest.raises(ConfigError, match="would get to run programs here"):
            accept(path, keys, told)


def test_an_exchanged_ca_is_found(pack: SitePack, tmp_path: Path) -> None:
    theirs = read_authority(create_server_certificate(tmp_path / "attacker").authority)
    forged = pack.model_copy(update={"ca_pem": theirs, "ca_fingerprint": authority_fingerprint(theirs)})
    with pytest.raises(ConfigError, match="somebody has exchanged the pack"):
        accept(write_pack(tmp_path, forged), tmp_path / "site", pack.ca_fingerprint)
    assert not (tmp_path / "site" / "ca.crt").exists()
    half = pack.model_copy(update={"ca_pem": theirs})
    with pytest.raises(ConfigError, match="isn't the one that it names"):
        read_pack(write_pack(tmp_path, half))


def test_a_pack_for_another_key_is_refused(pack: SitePack, tmp_path: Path) -> None:
    make_request("hospital-a", tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="is for the key SHA256:"):
        accept(write_pack(tmp_path, pack), tmp_path / "elsewhere", pack.ca_fingerprint)


def test_another_authority_in_the_folder_is_not_overwritten(pack: SitePack, tmp_path: Path) -> None:
    (tmp_path / "site" / "ca.crt").write_text("another")
    with pytest.raises(ConfigError, match="another CA's certificate"):
        accept(write_pack(tmp_path, pack), tmp_path / "site", pack.ca_fingerprint)
    assert (tmp_path / "site" / "ca.crt").read_text() == "another"


CHANGES: dict[str, dict[str, Any]] = {
    "a path for a name": {"site": "../x"},
    "a command in the address": {"superlink": "$(reboot):8000"},
    "an option in the address": {"superlink": "-x:8000"},
    "no port": {"superlink": "host"},
    "a quotation mark in the folder": {"data_dir": "/data' role='malicious"},
    "a negative partition": {"partition": -1},
    "a text for a number": {"partition": "0"},
    "a number for a truth value": {"own_data": 1},
    "another entry": {"role": "malicious"},
    "a key beside the certificate": {"ca_pem": "-----BEGIN PRIVATE KEY-----"},
    "no certificate": {"ca_pem": "\x1b[2J"},
    "a list for a text": {"ca_fingerprint": ["a"]},
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_hostile_pack_is_one_clear_error(change: str, pack: SitePack, tmp_path: Path) -> None:
    path = write_pack(tmp_path, pack)
    path.write_text(json.dumps(json.loads(path.read_text()) | CHANGES[change]))
    with pytest.raises(ConfigError, match=r"^pack = ") as caught:
        read_pack(path)
    assert str(caught.value).isprintable()
