"""A certificate that ends soon, or has ended, is told where an operator looks."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from fedcrucible.deploy.operator import Operator
from fedcrucible.deploy.topology import Site, SuperLinkTable, Topology
from fedcrucible.engines.flower.expiry import certificate_notes, expiry_of_file, expiry_of_server
from fedcrucible.engines.flower.keys import create_server_certificate
from tests.support.tls_server import certificate_made, serving

DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("ago", "said"),
    [(0, ""), (334, ""), (336, "28 days left"), (364.5, "0 days left"), (366, "has expired at 2")],
)
def test_thirty_days_are_a_warning(ago: float, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = certificate_made(monkeypatch, tmp_path, ago * DAY)
    kept = expiry_of_file(files.certificate)
    assert kept is not None
    assert (said in kept.warning, bool(kept.warning), kept.expired) == (True, bool(said), ago > 365)
    with serving(files) as address:
        assert expiry_of_server(str(address)) == kept, "what is shown, though nobody would trust it"


def test_what_is_no_certificate_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "junk").write_text("junk")
    assert expiry_of_file(tmp_path / "junk") is None
    assert expiry_of_file(tmp_path / "absent") is None
    assert expiry_of_server("127.0.0.1:1") is None
    with serving(None) as address:
        assert expiry_of_server(str(address)) is None


def test_a_new_certificate_that_is_not_yet_in_use(tmp_path: Path) -> None:
    old, new = (create_server_certificate(tmp_path / name) for name in ("old", "new"))
    with serving(old) as address:
        assert certificate_notes(old.certificate, str(address)) == []
        (note,) = certificate_notes(new.certificate, str(address))
    assert note == "the SuperLink shows another certificate than server.pem: restart both it and the nodes"


def test_deploy_status_and_site_list_say_it(fedcrucible, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = certificate_made(monkeypatch, tmp_path / "keys", 350 * DAY)
    with serving(files) as address:
        (tmp_path / "lab.toml").write_text(
            f'[superlink]\nport = {address.port}\n[[sites]]\nname = "site-a"\npartition = 0\nport = 1\n'
        )
        status = fedcrucible("deploy", "status", tmp_path / "lab.toml")
        assert "warn: the server's certificate ends at 2" in status.stdout
        table = json.loads(fedcrucible("deploy", "status", tmp_path / "lab.toml", "--json").stdout)
        assert ["14 days left" in note for note in table["certificate"]] == [True]
        where = ("--roster", tmp_path / "sites" / "roster.json", "--superlink", address, "--ca", files.authority)
        listed = fedcrucible("site", "list", *where)
        assert "warn: the server's certificate ends at 2" in listed.stdout
        assert "14 days left" in json.loads(fedcrucible("site", "list", *where, "--json").stdout)["certificate"]


def test_a_superlink_that_can_t_be_asked_is_told_and_no_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = certificate_made(monkeypatch, tmp_path / "keys", 366 * DAY)
    with serving(files) as address:
        described = Topology(
            superlink=SuperLinkTable(port=address.port), sites=(Site(name="a", partition=0, port=1),), folder=tmp_path
        )
        (note,) = Operator(described).certificate()
    assert "has expired at 2" in note
    assert "no node can connect any more" in note
