"""HOST:PORT and nothing else."""

from __future__ import annotations

import pytest

from fedcrucible.sites.address import parse_address
from fedcrucible_core.config.errors import ConfigError


@pytest.mark.parametrize("text", ["localhost:8000", "superlink.example.org.:1", "10.0.0.5:65535", "[2001:db8::5]:80"])
def test_addresses_read_back(text: str) -> None:
    assert str(parse_address(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", ":8000", "host", "host:", "host:0", "host:65536", "host:8000x", "host:٣", "http://host:8000", "a b:1", "-x:1",
     "2001:db8::5:80", "[host]:80", "host/path:80", "$(x):80", "a..b:80", "a" * 300 + ":80",
     "host:99999999999999999999", "host\n:80", "h\x1b[2J:80"],
)  # fmt: skip
def test_anything_else_is_one_clear_error(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^superlink = .*HOST:PORT") as caught:
        parse_address(text)
    assert str(caught.value).isprintable()
