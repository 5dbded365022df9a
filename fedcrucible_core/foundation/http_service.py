"""A service with the OpenAI API: its address, its key, and answers that can't hurt."""

from __future__ import annotations

import contextlib
import os
import re
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.plain_text import plain_text
from fedcrucible_core.foundation.base import SourceError
from fedcrucible_core.foundation.http_retry import RefusedError, Retry

if TYPE_CHECKING:
    import httpx

MOST_REDIRECTS = 20
GZIP = 31
"""What zlib calls that form."""
LOOPBACK = ("all://127.0.0.1", "all://localhost", "all://[::1]")


@dataclass(frozen=True)
class Service:
    """Where requests go; what it can't do is said by the keys of the configuration that chose it."""

    section: str
    """Where its keys stand, e.g. ``synthetic.openai-images``."""
    base_url: str
    """With or without /v1."""
    model: str
    api_key_env: str
    """Environment variable that holds the key; empty = none is sent."""
    retry: Retry
    check_hint: str = "check base_url and model"
    """What to look at when a request is refused."""

    def url(self, path: str) -> str:
        """The address of an end point, e.g. ``/chat/completions``. Raises ConfigError."""
        base = self.base_url.rstrip("/")
        trouble = _address_trouble(base)
        if trouble:
            shown = re.sub(r"//[^/]*@", "//***@", re.split(r"[?#]", self.base_url)[0])  # a key may stand there
            raise ConfigError(f"{self.section}.base_url", shown, trouble)
        return f"{base.removesuffix('/v1')}/v1{path}"

    def key(self) -> str:
        """The key, from the environment; empty where none is wanted. Raises ConfigError where it is missing."""
        if not self.api_key_env:
            return ""
        if not self.api_key_env.isidentifier():  # perhaps the key itself, so it isn't shown
            wanted = "must be the name of an environment variable, not the key; '' = no key is sent"
            raise ConfigError(f"{self.section}.api_key_env", "***", wanted)
        key = os.environ.get(self.api_key_env, "").strip()
        if not key:
            wanted = "that environment variable is not set; export it, or set this key to '' for a service without keys"
            raise ConfigError(f"{self.section}.api_key_env", self.api_key_env, wanted)
        if not (key.isascii() and key.isprintable()) or " " in key:  # no header could carry it
            wanted = "what that environment variable holds is no key: it has blanks, line ends or other letters in it"
            raise ConfigError(f"{self.section}.api_key_env", self.api_key_env, wanted)
        return key

    def send(
        self,
        request: Callable[[], httpx.Response],
        url: str,
        key: str,
        trouble: Callable[[httpx.Response], str] | None = None,
    ) -> httpx.Response:
        """The answer; a refusal names the setting that is to blame, an answer with ``trouble`` is asked for again.

        Raises:
            ConfigError: the key (401, 403) or the request (other 4xx) is refused.
            SourceError: no usable answer after all tries.
        """
        try:
            return self.retry.send(request, url, key, trouble)
        except RefusedError as refused:
            if refused.status in (401, 403):
                wanted = f"the service refused the key in that environment variable ({refused})"
                raise ConfigError(f"{self.section}.api_key_env", self.api_key_env, wanted) from None
            wanted = f"the service refused the request ({refused}); {self.check_hint}"
            raise ConfigError(f"{self.section}.model", self.model, wanted) from None


def open_client(timeout_s: float) -> httpx.Client:
    """A client that follows redirects and asks services on this machine directly, whatever proxy is set."""
    import httpx

    return httpx.Client(timeout=timeout_s, follow_redirects=True, mounts=dict.fromkeys(LOOPBACK))


def authorization(key: str) -> dict[str, str]:
    """The header that carries the key; nothing without one."""
    return {"Authorization": f"Bearer {key}"} if key else {}


def post_bounded(
    client: httpx.Client, url: str, body: Mapping[str, Any], key: str, timeout_s: float, most_bytes: int
) -> httpx.Response:
    """The answer to a JSON request, read whole within ``timeout_s`` seconds and ``most_bytes`` bytes.

    So are the answers that redirect to it; a key is sent on to the same host only.

    Raises:
        httpx.ReadTimeout: it is not whole in time, though bytes may still drip in.
        httpx.TooManyRedirects: it leads from address to address.
        SourceError: it is longer, also once it is unpacked, or packed in a way that wasn't asked for.
    """
    import httpx

    deadline = time.monotonic() + timeout_s
    headers = {**authorization(key), "Accept-Encoding": "identity"}  # a few bytes can unpack to what fills a memory
    request: httpx.Request | None = client.build_request("POST", url, json=body, headers=headers)
    for _ in range(MOST_REDIRECTS + 1):
        assert request is not None
        content = bytearray()
        with contextlib.closing(client.send(request, stream=True, follow_redirects=False)) as answer:
            for piece in answer.iter_raw():
                content += piece
                if len(content) > most_bytes:
                    raise _too_long(url, most_bytes)
                if time.monotonic() > deadline:
                    raise httpx.ReadTimeout(f"no whole answer within {timeout_s:g} s")
        request = answer.next_request
        if request is None:
            whole = _unpacked(bytes(content), answer.headers.get("content-encoding", ""), url, most_bytes)
            kept = {name: value for name, value in answer.headers.items() if name == "retry-after"}
            return httpx.Response(answer.status_code, headers=kept, content=whole)
    raise httpx.TooManyRedirects(f"more than {MOST_REDIRECTS} redirects")


def _unpacked(content: bytes, encoding: str, url: str, most_bytes: int) -> bytes:
    """What a service has packed unasked, by gzip once."""
    if encoding.strip().lower() in ("", "identity"):
        return content
    if encoding.strip().lower() not in ("gzip", "x-gzip"):
        raise SourceError(f"{url}: the answer is packed as {plain_text(encoding, 40)}, which wasn't asked for")
    try:
        whole = zlib.decompressobj(GZIP).decompress(content, most_bytes + 1)
    except zlib.error:
        return content  # it is read, and refused, as it is
    if len(whole) > most_bytes:
        raise _too_long(url, most_bytes)
    return whole


def _too_long(url: str, most_bytes: int) -> SourceError:
    return SourceError(f"{url}: the answer is longer than {most_bytes:,} bytes; is this the right service?")


def _address_trouble(base: str) -> str:
    """What is wrong with a service's address; empty = nothing."""
    if not base.startswith(("http://", "https://")):
        return "must start with http:// or https://"
    try:
        parts = urlsplit(base)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return f"is no address ({error})"
    if not host or not base.isprintable() or " " in base:
        return "is no address"
    if "@" in parts.netloc or "?" in base or "#" in base:
        return "may hold no user, password, ? or #: it goes into records; a key comes from the variable api_key_env"
    return ""
