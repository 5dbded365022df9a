"""Skew by the Date of an answer, judged by what Flower tolerates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fedcrucible.engines.flower.keys import ServerCertificate, create_server_certificate
from fedcrucible.health import clock
from fedcrucible.health.handshake import trusting, unverified
from tests.support.tls_server import Answers, serving


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> ServerCertificate:
    return create_server_certificate(tmp_path_factory.mktemp("keys"))


@pytest.mark.parametrize(
    ("ahead_s", "status"),
    [(0, "ok"), (1.5, "ok"), (4, "warn"), (7, "fail"), (-100, "ok"), (-200, "warn"), (-400, "fail")],
)
def test_a_clock_ahead_is_refused_sooner_than_one_behind(ahead_s: float, status: str) -> None:
    here = datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)
    there = (here - timedelta(seconds=ahead_s)).replace(microsecond=0)
    assert clock.judge(there, here, here + timedelta(milliseconds=100)).status == status


def test_flower_has_these_limits() -> None:
    from flwr.common.constant import SYSTEM_TIME_TOLERANCE, TIMESTAMP_TOLERANCE

    assert (clock.MOST_AHEAD_S, clock.MOST_BEHIND_S) == (
        SYSTEM_TIME_TOLERANCE,
        SYSTEM_TIME_TOLERANCE + TIMESTAMP_TOLERANCE,
    )


def test_a_wrong_clock_is_found_over_tls(certificate: ServerCertificate) -> None:
    with serving(certificate, Answers(ahead=timedelta(hours=1))) as address:
        found = clock.compare(address, trusting(certificate.authority.read_text()), trusted=True)
    assert found.status == "fail"
    assert found.detail.endswith("s behind the server's: the SuperLink refuses from 305 s on")
    assert "NTP" in found.todo


def test_an_untrusted_server_s_time_is_told_as_such(certificate: ServerCertificate) -> None:
    with serving(certificate) as address:
        found = clock.compare(address, unverified(), trusted=False)
    assert found.status == "ok"
    assert "isn't trusted" in found.detail


def test_a_server_that_tells_no_time(certificate: ServerCertificate, tmp_path: Path) -> None:
    with serving(certificate, Answers(ahead=None)) as address:
        found = clock.compare(address, trusting(certificate.authority.read_text()), trusted=True)
    assert found.status == "warn"
    assert "can't be known" in found.detail
