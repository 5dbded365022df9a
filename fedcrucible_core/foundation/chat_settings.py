"""The settings of whatever asks a chat model: who answers, how patiently, and for how much."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import Field

from fedcrucible_core.config import Component, ConfigError

RESERVED = ("model", "messages", "temperature", "stream", "n", "max_tokens", "max_completion_tokens")
"""Fields of a request that have settings of their own, or that answers couldn't be read with."""


class ChatSettings(Component):
    """A service that speaks the OpenAI chat API: ``POST {base_url}/v1/chat/completions``."""

    base_url: str = Field("https://api.openai.com", description="Address of the service, with or without /v1")
    model: str = Field("gpt-4o-mini", description="Model name, as the service knows it")
    api_key_env: str = Field(
        "OPENAI_API_KEY", description="Name of the environment variable that holds the key; empty = no key is sent"
    )
    temperature: float = Field(1.0, ge=0.0, le=2.0, description="Sampling temperature")
    max_tokens: int = Field(4096, ge=16, le=1_000_000, description="Longest answer asked for, in tokens")
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = Field(
        "max_tokens", description="What the service calls that limit; newer OpenAI models want max_completion_tokens"
    )
    extra: str = Field("", description='Further fields of a request as a JSON object, e.g. {"top_p": 0.9}')
    timeout_s: float = Field(180.0, gt=0.0, description="Seconds to wait for one whole answer")
    retries: int = Field(5, ge=0, le=20, description="Further tries after 429, 5xx, a timeout or a lost connection")
    backoff_s: float = Field(1.0, ge=0.0, description="Wait before the first further try; doubles each time")
    parallel: int = Field(4, ge=1, le=64, description="Requests under way at once")
    requests_per_minute: float = Field(0.0, ge=0.0, description="Most requests a minute; 0 = no limit of ours")
    price_in: float = Field(0.0, ge=0.0, description="Price of a million tokens sent, in the currency of budget")
    price_out: float = Field(0.0, ge=0.0, description="Price of a million tokens answered")
    budget: float = Field(0.0, ge=0.0, description="Most money for one set of texts, all tries together; 0 = no limit")
    budget_tokens: int = Field(
        5_000_000, ge=0, description="Most tokens, sent and answered, for one set of texts; 0 = no limit"
    )
    keep_dir: str = Field("", description="Folder of received answers; empty = FEDCRUCIBLE_CACHE or the user cache")

    def further_fields(self, section: str) -> dict[str, Any]:
        """What ``extra`` says. Raises ConfigError where it is no object, or says what has a setting of its own."""
        if not self.extra:
            return {}
        try:
            fields = json.loads(self.extra)
            json.dumps(fields, ensure_ascii=False, allow_nan=False).encode()  # as it will be sent
        except (ValueError, RecursionError):
            fields = None
        if not isinstance(fields, dict):
            raise ConfigError(f"{section}.extra", self.extra, 'must be a JSON object, e.g. {"top_p": 0.9}')
        taken = [name for name in fields if name in RESERVED]
        if taken:
            raise ConfigError(f"{section}.extra", self.extra, f"may not say {', '.join(taken)}")
        return fields

    def check_limits(self, section: str) -> None:
        """Raise ConfigError for settings that can't be had together; cheap, asks nobody."""
        self.further_fields(section)
        if self.budget and not (self.price_in or self.price_out):
            raise ConfigError(f"{section}.budget", self.budget, "needs prices: set price_in and price_out beside it")
