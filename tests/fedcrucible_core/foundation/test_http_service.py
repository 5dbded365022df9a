"""Where requests go, and answers that are longer, or packed tighter, than anybody asked for."""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from fedcrucible_core.config import ConfigError
from fedcrucible_core.foundation.base import SourceError
from fedcrucible_core.foundation.http_retry import Retry
from fedcrucible_core.foundation.http_service import Service, open_client, post_bounded
from tests.support.scripted_service import ScriptedService

KEY = "sk-secret-key-of-the-test"
FINE = {"fine": True}
PATH = "/v1/chat/completions"


@pytest.fixture
def service() -> Iterator[ScriptedService]:
    with ScriptedService((200, FINE, {}, 0.0)) as made:
        yield made


def post(service: ScriptedService, timeout_s: float = 5.0, most_bytes: int = 10_000) -> httpx.Response:
    with open_client(timeout_s) as client:
        return post_bounded(client, service.url + PATH, {"a": 1}, KEY, timeout_s, most_bytes)


def made(base_url: str = "http://127.0.0.1:9", api_key_env: str = "MY_KEY") -> Service:
    return Service("synthetic.llm", base_url, "model", api_key_env, Retry(0, 0.0))


# --- addresses and keys ---


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:8000/v1/", "https://api.openai.com", "http://[::1]:8080", "https://x.y/openai/v1"]
)
def test_addresses(address: str) -> None:
    assert made(address).url("/chat/completions") == address.rstrip("/").removesuffix("/v1") + PATH


@pytest.mark.parametrize(
    "address",
    [
        "api.openai.com",
        "http://",
        "http://h:port",
        "http://h:99999",
        "http://[bad",
        "http://h h",
        "http://h\n",
        "http://\ud800",
        "http://user:secret@h/v1",
        "http://h?key=secret",
        "http://h#secret",
    ],
)
def test_what_is_no_address_is_one_error_that_shows_no_secret(address: str) -> None:
    with pytest.raises(ConfigError) as caught:
        made(address).url(PATH)
    assert caught.value.key == "synthetic.llm.base_url"
    assert "secret" not in str(caught.value)


def test_a_key_in_the_place_of_a_variable_s_name_is_not_shown() -> None:
    with pytest.raises(ConfigError, match="must be the name of an environment variable") as caught:
        made(api_key_env=KEY).key()
    assert KEY not in str(caught.value)


# --- answers ---


def test_an_answer_is_not_asked_to_be_packed_and_unpacked_where_it_is(service: ScriptedService) -> None:
    assert post(service).json() == FINE
    assert service.requests[0][2]["Accept-Encoding"] == "identity"
    service.script = [(200, gzip.compress(b'{"fine": true}'), {"Content-Encoding": "gzip"}, 0.0)]
    assert post(service).json() == FINE
    service.script = [(200, b"no gzip", {"Content-Encoding": "gzip"}, 0.0)]
    assert post(service).content == b"no gzip"


@pytest.mark.parametrize("layers", [1, 2])
def test_what_unpacks_to_far_more_is_an_error_and_is_not_unpacked(service: ScriptedService, layers: int) -> None:
    content = bytes(5_000_000)
    for _ in range(layers):
        content = gzip.compress(content)
    assert len(content) < 10_000
    service.script = [(200, content, {"Content-Encoding": ", ".join(["gzip"] * layers)}, 0.0)]
    with pytest.raises(SourceError, match=r"longer than 10,000|wasn't asked for"):
        post(service)


def test_a_redirect_is_followed_and_the_key_stays_with_its_host(service: ScriptedService) -> None:
    with ScriptedService((200, {"other": 1}, {}, 0.0)) as other:
        service.script = [(308, b"", {"Location": "/v2"}, 0.0)]
        assert post(service).json() == FINE
        assert (service.requests[1][1], service.requests[1][3]) == ("/v2", {"a": 1})
        assert service.requests[1][2]["Authorization"] == f"Bearer {KEY}"
        service.script = [(307, b"", {"Location": other.url + PATH}, 0.0)]
        assert post(service).json() == {"other": 1}
        assert "Authorization" not in other.requests[0][2]


def test_a_circle_of_redirects_ends(service: ScriptedService) -> None:
    service.usual = (307, b"", {"Location": PATH}, 0.0)
    with pytest.raises(httpx.TooManyRedirects):
        post(service)


@pytest.mark.parametrize(
    ("status", "body", "error"), [(307, bytes(3_000_000), SourceError), ("drip", bytes(200), httpx.ReadTimeout)]
)
def test_a_redirecting_answer_is_bounded_too(
    service: ScriptedService, status: int | str, body: bytes, error: Any
) -> None:
    service.script = [(status, body, {"Location": PATH}, 0.0)]
    start = time.monotonic()
    with pytest.raises(error):
        post(service, timeout_s=0.3 if status == "drip" else 5.0)
    assert time.monotonic() - start < 3.0
