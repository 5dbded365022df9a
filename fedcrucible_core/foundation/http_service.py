"""A service with the OpenAI API: its address, its key, and answers that can't hurt."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedcrucible_core.config import ConfigError
from fedcrucible_core.foundation.base import SourceError
from fedcrucible_core.foundation.http_retry import RefusedError, Retry

if TYPE_CHECKING:
    import httpx

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
        if not base.startswith(("http://", "https://")):
            raise ConfigError(f"{self.section}.base_url", self.base_url, "must start with http:// or https://")
        return f"{base.removesuffix('/v1')}/v1{path}"

    def key(self) -> str:
        """The key, from the environment; empty where none is wanted. Raises ConfigError where it is missing."""
        if not self.api_key_env:
            return ""
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

    Raises:
        httpx.ReadTimeout: it is not whole in time, though bytes may still drip in.
        SourceError: it is longer.
    """
    import httpx

    deadline = time.monotonic() + timeout_s
    content = bytearray()
    with client.stream("POST", url, json=body, headers=authorization(key)) as answer:
        for piece in answer.iter_bytes():
            content += piece
            if len(content) > most_bytes:
                raise SourceError(f"{url}: the answer is longer than {most_bytes:,} bytes; is this the right service?")
            if time.monotonic() > deadline:
                raise httpx.ReadTimeout(f"no whole answer within {timeout_s:g} s")
    headers = {name: value for name, value in answer.headers.items() if name == "retry-after"}
    return httpx.Response(answer.status_code, headers=headers, content=bytes(content))
