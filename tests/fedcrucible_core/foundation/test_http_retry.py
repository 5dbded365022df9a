"""When a request is sent again, and what is said when it isn't."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from fedcrucible_core.foundation.base import SourceError
from fedcrucible_core.foundation.http_retry import LONGEST_WAIT_S, RefusedError, Retry

URL = "http://service/v1"


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between tries, in place of waiting."""
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)
    return waited


def answering(*answers: httpx.Response | httpx.HTTPError) -> Callable[[], httpx.Response]:
    left = list(answers)

    def request() -> httpx.Response:
        answer = left.pop(0)
        if isinstance(answer, httpx.HTTPError):
            raise answer
        return answer

    return request


def test_waits_double_until_an_answer_comes(waits: list[float]) -> None:
    answers = [httpx.Response(500), httpx.ConnectError("gone"), httpx.Response(429), httpx.Response(200, text="here")]
    assert Retry(3, 1.5).send(answering(*answers), URL).text == "here"
    assert waits == [1.5, 3.0, 6.0]


@pytest.mark.parametrize(("asked", "waited"), [("7", 7.0), ("100000", LONGEST_WAIT_S), ("a date", 1.0), ("-3", 1.0)])
def test_the_service_may_ask_for_a_longer_wait(asked: str, waited: float, waits: list[float]) -> None:
    busy = httpx.Response(429, headers={"retry-after": asked})
    Retry(1, 1.0).send(answering(busy, httpx.Response(200)), URL)
    assert waits == [waited]


@pytest.mark.parametrize(
    ("date", "waited"),
    [
        ("Fri, 13 Feb 2009 23:31:40 GMT", 10.0),
        ("Fri, 13 Feb 2009 23:31:40 -0000", 10.0),
        ("Sat, 14 Feb 2009 01:31:40 +0200", 10.0),
        ("Fri, 13 Feb 2099 23:31:40 GMT", LONGEST_WAIT_S),
        ("Fri, 13 Feb 1999 23:31:40 GMT", 1.0),
        ("Fri, 99 Feb 99999 23:31:40 GMT", 1.0),
        ("nan", 1.0),
        ("inf", LONGEST_WAIT_S),
    ],
)
def test_a_wait_may_be_asked_for_as_a_date(
    date: str, waited: float, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: 1234567890.0)
    busy = httpx.Response(503, headers={"retry-after": date})
    Retry(1, 1.0).send(answering(busy, httpx.Response(200)), URL)
    assert waits == [waited]


def test_a_request_that_came_too_slowly_is_sent_again(waits: list[float]) -> None:
    assert Retry(1, 1.0).send(answering(httpx.Response(408), httpx.Response(200, text="here")), URL).text == "here"
    assert waits == [1.0]


def test_the_last_trouble_is_named(waits: list[float]) -> None:
    with pytest.raises(SourceError, match=r"no answer after 2 tries [(]HTTP 503: second"):
        Retry(1, 0.0).send(answering(httpx.Response(500, text="first"), httpx.Response(503, text="second")), URL)
    assert len(waits) == 1


def test_a_refusal_is_not_tried_again_and_keeps_the_secret(waits: list[float]) -> None:
    with pytest.raises(RefusedError, match=r"HTTP 401: \*\*\* is no key") as caught:
        Retry(5, 1.0).send(answering(httpx.Response(401, text="abc123 is no key")), URL, "abc123")
    assert caught.value.status == 401
    assert waits == []
