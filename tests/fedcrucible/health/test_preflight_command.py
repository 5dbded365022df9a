"""``fedcrucible preflight`` against a small TLS server: exit codes, JSON, and what is told when nothing can be."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fedcrucible.engines.flower.keys import ServerCertificate, create_node_key, create_server_certificate
from fedcrucible.engines.flower.node_keys import fingerprint, read_private_key
from fedcrucible.health import dialling
from fedcrucible.sites.address import Address
from fedcrucible.sites.authority import authority_fingerprint
from fedcrucible.sites.pack import SitePack, write_pack
from fedcrucible.sites.request import local_versions
from tests.support.own_pictures import write_folder
from tests.support.tls_server import Answers, serving

LETS_IN = Answers(400, json.dumps({"code": 2003, "detail": "Invalid heartbeat interval."}))
REFUSES = Answers(412, json.dumps({"code": 2004, "detail": "Failed to activate SuperNode."}))


@pytest.fixture
def certificate(tmp_path: Path) -> ServerCertificate:
    return create_server_certificate(tmp_path / "server")


@pytest.fixture
def superlink(certificate: ServerCertificate) -> Iterator[Address]:
    with serving(certificate, LETS_IN) as address:
        yield address


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return create_node_key(tmp_path / "keys", "hospital-a").private


def _by_name(result: Any) -> dict[str, dict[str, str]]:
    found = json.loads(result.stdout)
    assert found["ok"] == (result.exit_code == 0)
    return {finding["name"]: finding for finding in found["findings"]}


def test_a_node_that_would_work_is_exit_code_0(
    fedcrucible, superlink: Address, certificate: ServerCertificate, key: Path, tmp_path: Path
) -> None:
    data = write_folder(tmp_path / "pictures", 4, size=(28, 28))
    options = ("--superlink", superlink, "--ca", certificate.authority, "--key", key, "--data", data)
    result = fedcrucible("preflight", *options, "--examples", 4, "--json", "model.name=cnn", "run.device=cpu")
    assert result.exit_code == 0, result.output
    assert {finding["status"] for finding in _by_name(result).values()} == {"ok"}
    shown = fedcrucible("preflight", *options, "--examples", 0, "run.device=cpu")
    assert "ok  registered: the SuperLink knows this key" in shown.stdout
    assert ".png" not in shown.output


def test_a_refused_key_is_exit_code_1_and_no_second_error(
    fedcrucible, certificate: ServerCertificate, key: Path
) -> None:
    with serving(certificate, REFUSES) as address:
        result = fedcrucible("preflight", "--superlink", address, "--ca", certificate.authority, "--key", key)
    assert result.exit_code == 1
    assert "fail  registered: " in result.stdout
    assert "ecdsa-sha2-nistp384 " in result.stdout
    assert result.stderr == ""


def test_no_key_is_shown_to_a_server_that_isn_t_trusted(
    fedcrucible, superlink: Address, key: Path, tmp_path: Path
) -> None:
    other = create_server_certificate(tmp_path / "other").authority
    found = _by_name(fedcrucible("preflight", "--superlink", superlink, "--ca", other, "--key", key, "--json"))
    assert found["TLS"]["status"] == "fail"
    assert found["registered"]["detail"].startswith("not checked")
    assert "isn't trusted" in found["skew"]["detail"]


def test_a_wrong_clock_is_named_before_the_refused_signature(
    fedcrucible, certificate: ServerCertificate, key: Path
) -> None:
    refuses = Answers(401, '{"detail":"Invalid SuperNode authentication"}', timedelta(minutes=-10))
    with serving(certificate, refuses) as address:
        options = ("--superlink", address, "--ca", certificate.authority, "--key", key, "--json")
        found = _by_name(fedcrucible("preflight", *options))
    assert found["skew"]["detail"].endswith("ahead of the server's: the SuperLink refuses from 5 s on")
    assert "the clock, see above" in found["registered"]["todo"]


def test_a_closed_port_and_an_unknown_name(
    fedcrucible, certificate: ServerCertificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = fedcrucible("preflight", "--superlink", "127.0.0.1:1", "--ca", certificate.authority, "--json")
    assert "refuses" in _by_name(closed)["port"]["detail"]
    assert _by_name(closed)["TLS"]["detail"] == "not checked: needs an open port"

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    absent = fedcrucible("preflight", "--superlink", "nowhere.example:1", "--ca", certificate.authority, "--json")
    assert "nowhere.example has no address: Name or service not known" in _by_name(absent)["DNS"]["detail"]
    assert "port" not in _by_name(absent)


def test_a_silent_firewall_is_a_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: object, **__: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", silent)
    found = dialling.reach(Address("10.0.0.5", 8000))
    assert "doesn't answer within 5 s" in found.detail
    assert "firewall" in found.todo


@pytest.mark.parametrize(("exempt", "status"), [("", "warn"), ("127.0.0.1", "ok"), ("*", "ok")])
def test_a_proxy_on_the_way_is_told_without_its_password(
    exempt: str, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, exempt)
    monkeypatch.setenv("https_proxy", "http://user:password@proxy:3128")
    found = dialling.proxy(Address("127.0.0.1", 8000))
    assert found.status == status
    assert "password" not in f"{found.detail}{found.todo}"


def test_a_pack_says_all_but_the_key(
    fedcrucible, superlink: Address, certificate: ServerCertificate, key: Path, tmp_path: Path
) -> None:
    pem = certificate.authority.read_text()
    pack = SitePack(
        site="hospital-a", key_fingerprint=fingerprint(read_private_key(key).public_key()), superlink=str(superlink),
        ca_pem=pem, ca_fingerprint=authority_fingerprint(pem), source_sha256="0" * 64,
        versions={**local_versions(), "numpy": "1.0"}, partition=0, partitions=2, data_dir=str(tmp_path / "absent"),
    )  # fmt: skip
    found = _by_name(fedcrucible("preflight", "--pack", write_pack(tmp_path, pack), "--key", key, "--json"))
    assert found["TLS"]["status"] == "ok"
    assert (found["numpy"]["status"], found["program"]["status"]) == ("warn", "warn")
    assert found["folder"]["detail"] == "the folder isn't there, or may not be looked into"
    other = create_node_key(tmp_path / "keys", "other").private
    found = _by_name(fedcrucible("preflight", "--pack", tmp_path / "hospital-a.site.json", "--key", other, "--json"))
    assert found["pack"]["detail"].startswith("the pack is for another key")


def test_options_that_can_t_be_used_are_exit_code_2(fedcrucible, tmp_path: Path) -> None:
    for options in ((), ("--superlink", "x:1"), ("--superlink", "x", "--ca", tmp_path), ("--pack", tmp_path)):
        result = fedcrucible("preflight", *options)
        assert (result.exit_code, result.stderr.startswith("error: ")) == (2, True), result.output
