"""Requests to a service that is busy, breaks off or refuses."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from fedcrucible_core.config.plain_text import plain_text
from fedcrucible_core.foundation.base import SourceError

if TYPE_CHECKING:
    import httpx

LONGEST_WAIT_S = 60.0
"""No single wait between tries is longer, whatever the service asks for."""
TRIED_AGAIN = (408, 429)
"""Errors 4xx that say nothing against the request: it came too slowly, or too soon."""


class RefusedError(Exception):
    """An answer 3xx or 4xx but ``TRIED_AGAIN``: it stays refused; the message has status and start of the answer."""

    def __init__(self, status: int, trouble: str) -> None:
        super().__init__(trouble)
        self.status = status


@dataclass(frozen=True)
class Retry:
    """Tries again after 408, 429, 5xx and transport errors, with waits that double, or as long as the service asks."""

    retries: int
    """Further tries after the first."""
    backoff_s: float
    """Wait before the first further try."""

    def send(
        self,
        request: Callable[[], httpx.Response],
        url: str,
        secret: str = "",
        wrong: Callable[[httpx.Response], str] | None = None,
    ) -> httpx.Response:
        """The first answer of success; ``secret`` is left out of every message.

        ``wrong`` says what is wrong with an answer of success (empty = nothing): such a one is asked for again.

        Raises:
            RefusedError: the request itself is refused.
            SourceError: no answer after all tries, or one that is no HTTP.
        """
        import httpx

        for attempt in range(self.retries + 1):
            asked = 0.0
            try:
                answer = request()
            except httpx.TransportError as error:
                trouble = excerpt(f"{type(error).__name__}: {error}", secret)
            except httpx.HTTPError as error:
                raise SourceError(f"{url}: {excerpt(f'{type(error).__name__}: {error}', secret)}") from None
            else:
                if answer.is_success:
                    trouble = wrong(answer) if wrong is not None else ""
                    if not trouble:
                        return answer
                    trouble = excerpt(trouble, secret)
                else:
                    trouble = f"HTTP {answer.status_code}: {excerpt(answer.text, secret)}"
                    if answer.status_code not in TRIED_AGAIN and answer.status_code < 500:
                        raise RefusedError(answer.status_code, trouble)
                asked = _seconds(answer.headers.get("retry-after"))
            if attempt < self.retries:
                time.sleep(min(max(self.backoff_s * 2**attempt, asked), LONGEST_WAIT_S))
        tries = "try" if self.retries == 0 else "tries"
        raise SourceError(
            f"{url}: no answer after {self.retries + 1} {tries} ({trouble}); what was received so far is kept"
        )


def excerpt(text: str, secret: str = "") -> str:
    """The start of an answer, on one line, without the secret should a service repeat it."""
    return plain_text(text.replace(secret, "***") if secret else text)  # before it is cut, perhaps within the secret


def _seconds(retry_after: str | None) -> float:
    """What the header asks for, in seconds from now or as a date; nothing where it is neither."""
    try:
        return max(0.0, float(retry_after or 0))
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(retry_after or "")
        return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0
