"""A request, and files that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedcrucible.sites.request import SiteRequest, make_request


@pytest.fixture
def request_file(tmp_path: Path) -> Path:
    """A request of hospital-a; its key lies beside it."""
    return make_request("hospital-a", tmp_path / "site")[1]


@pytest.fixture
def asked(tmp_path: Path) -> SiteRequest:
    """The same as what was read."""
    return make_request("hospital-a", tmp_path / "site")[2]
