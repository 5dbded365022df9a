"""Versions against a pack."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedcrucible.engines.flower.keys import create_server_certificate
from fedcrucible.health import pinned
from fedcrucible.sites.pack import SitePack, make_pack
from fedcrucible.sites.request import make_request
from fedcrucible.sites.roster import Site


@pytest.fixture
def pack(tmp_path: Path) -> SitePack:
    asked = make_request("hospital-a", tmp_path)[2]
    site = Site(site="hospital-a", public_key=asked.public_key, fingerprint="SHA256:x", status="approved",
                approved_utc="", partition=0, versions={})  # fmt: skip
    return make_pack(site, "localhost:1", create_server_certificate(tmp_path).authority.read_text(), 1)


def _statuses(pack: SitePack) -> dict[str, str]:
    return {finding.name: finding.status for finding in pinned.compare(pack)}


def test_the_same_installation_is_ok(pack: SitePack) -> None:
    assert set(_statuses(pack).values()) == {"ok"}
    assert {"python", "flwr", "torch", "program"} <= _statuses(pack).keys()


def test_flower_s_minor_version_is_a_must_and_others_are_not(pack: SitePack) -> None:
    wanted = {**pack.versions, "flwr": "1.28.0", "torch": "1.0", "numpy": pack.versions["numpy"], "python": "3.99.1"}
    other = pack.model_copy(update={"versions": wanted | {"absent": "1"}, "source_sha256": "0" * 64})
    found = _statuses(other)
    assert found["flwr"] == "fail"
    assert {found[name] for name in ("torch", "python", "absent", "program")} == {"warn"}
    assert found["numpy"] == "ok"
    newer = pack.model_copy(update={"versions": {"flwr": pack.versions["flwr"].rpartition(".")[0] + ".99"}})
    assert _statuses(newer)["flwr"] == "warn"


def test_without_a_pack_versions_are_told() -> None:
    (found,) = pinned.compare(None)
    assert found.status == "ok"
    assert "flwr 1." in found.detail
