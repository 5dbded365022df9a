"""The chat client against a local server: faults, cache, budget, and a key that nobody sees."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fedcrucible_core.config import ConfigError
from fedcrucible_core.foundation.answer_cache import Reply, Request, Turn
from fedcrucible_core.foundation.base import SourceError
from fedcrucible_core.foundation.chat import ChatClient
from fedcrucible_core.foundation.chat_budget import BudgetError, Ledger, Limits, Prices, Tokens, most_tokens
from fedcrucible_core.foundation.chat_settings import ChatSettings
from fedcrucible_core.foundation.pacing import Pace
from tests.support.imitated_writer import answer, completion
from tests.support.scripted_service import Answer, ScriptedService

KEY = "sk-secret-key-of-the-test"
SECTION = "synthetic.llm"
Ask = Callable[..., list[Reply]]


def echo(body: dict[str, Any]) -> Answer:
    return answer(f"answer to {body['messages'][-1]['content']}")


@pytest.fixture
def service() -> Iterator[ScriptedService]:
    with ScriptedService(echo) as made:
        yield made


@pytest.fixture
def settings(service: ScriptedService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ChatSettings]:
    monkeypatch.setenv("MY_KEY", KEY)

    def build(**changes: Any) -> ChatSettings:
        parameters: dict[str, Any] = {
            "base_url": service.url,
            "model": "writer",
            "api_key_env": "MY_KEY",
            "backoff_s": 0.01,
            "timeout_s": 5.0,
            "retries": 2,
            "parallel": 1,
            "keep_dir": str(tmp_path / "kept"),
        }
        return ChatSettings(**{**parameters, **changes})

    return build


@pytest.fixture
def ask(settings: Callable[..., ChatSettings]) -> Ask:
    def asked(*questions: str, sample: str = "0", **changes: Any) -> list[Reply]:
        with ChatClient(settings(**changes), SECTION) as client:
            return client.ask_all([question(text, sample) for text in questions])

    return asked


def question(text: str, sample: str = "0") -> Request:
    return Request((Turn("system", "be brief"), Turn("user", text)), sample)


def test_what_is_sent_and_what_comes_back(service: ScriptedService, ask: Ask) -> None:
    replies = ask("a", "b", extra='{"top_p": 0.5}', max_tokens=77)
    assert [reply.text for reply in replies] == ["answer to a", "answer to b"]
    assert replies[0] == Reply("answer to a", False, Tokens(100, 200))
    method, path, headers, body = service.requests[0]
    assert (method, path) == ("POST", "/v1/chat/completions")
    assert headers["Authorization"] == f"Bearer {KEY}"
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "a"}]
    assert body == {"model": "writer", "messages": messages, "temperature": 1.0, "max_tokens": 77, "top_p": 0.5}


def test_the_name_of_the_longest_answer_can_be_chosen(service: ScriptedService, ask: Ask) -> None:
    ask("a", max_tokens_field="max_completion_tokens", max_tokens=50)
    body = service.requests[0][3]
    assert body["max_completion_tokens"] == 50
    assert "max_tokens" not in body


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
def test_the_address_with_or_without_v1(service: ScriptedService, ask: Ask, suffix: str) -> None:
    ask("a", base_url=service.url + suffix)
    assert service.requests[0][1] == "/v1/chat/completions"


def test_nothing_is_asked_twice_but_another_sample_is_another_answer(service: ScriptedService, ask: Ask) -> None:
    first = ask("a", "b")
    assert ask("b", "a") == first[::-1]
    assert len(service.requests) == 2
    ask("a", sample="1")
    assert len(service.requests) == 3


@pytest.mark.parametrize(
    "changes", [{"model": "other"}, {"temperature": 0.5}, {"extra": '{"seed": 1}'}, {"max_tokens": 99}]
)
def test_what_answers_depend_on_is_part_of_their_name(
    service: ScriptedService, ask: Ask, changes: dict[str, Any]
) -> None:
    ask("a")
    ask("a", **changes)
    assert len(service.requests) == 2


@pytest.mark.parametrize(
    "changes", [{"timeout_s": 9.0}, {"budget_tokens": 10**7}, {"parallel": 3}, {"api_key_env": ""}, {"price_in": 2.0}]
)
def test_what_they_do_not_depend_on_is_not(service: ScriptedService, ask: Ask, changes: dict[str, Any]) -> None:
    ask("a")
    ask("a", **changes)
    assert len(service.requests) == 1


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b'{"text": 1}', b'{"text": "x", "refused": false, "sent": -1, "answered": 0}']
)
def test_a_damaged_answer_is_asked_for_again(service: ScriptedService, ask: Ask, tmp_path: Path, damage: bytes) -> None:
    first = ask("a")
    (file,) = (tmp_path / "kept" / "answers").iterdir()
    file.write_bytes(damage)
    with pytest.warns(RuntimeWarning, match="can't be used"):
        assert ask("a") == first
    assert ask("a") == first
    assert len(service.requests) == 2


def test_a_folder_that_cannot_be_written_costs_a_warning(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.warns(RuntimeWarning, match="can't keep the received answer"):
        assert ask("a", keep_dir=str(tmp_path / "file"))[0].text == "answer to a"


# --- faults ---


@pytest.mark.parametrize(
    "fault",
    [
        (429, b"slow down", {}, 0.0),
        (429, b"slow down", {"Retry-After": "0.05"}, 0.0),
        (500, b"oops", {}, 0.0),
        (503, b"<html>", {}, 0.0),
        ("drop", b"", {}, 0.0),
        ("reset", b"", {}, 0.0),
        ("cut", completion("half of it"), {}, 0.0),
        (200, b'{"choices": [{"mess', {}, 0.0),
        (200, b"", {}, 0.0),
        (200, b"\xff\xfe\x00", {}, 0.0),
        (200, {"choices": []}, {}, 0.0),
        (200, {"error": {"message": "overloaded"}}, {}, 0.0),
        (200, {"choices": "none"}, {}, 0.0),
        (200, {"choices": [{"message": {"content": 7}}]}, {}, 0.0),
        (200, {"choices": [{"message": {"content": [{"type": "text"}]}}]}, {}, 0.0),
        (200, {"choices": [None]}, {}, 0.0),
        (200, [1, 2], {}, 0.0),
        (200, b"[" * 100_000, {}, 0.0),
    ],
)
def test_a_fault_is_got_over(service: ScriptedService, ask: Ask, fault: Answer) -> None:
    service.script = [fault, fault]
    assert ask("a")[0].text == "answer to a"
    assert len(service.requests) == 3
    service.script = [fault] * 3
    with pytest.raises(SourceError, match="no answer after 3 tries"):
        ask("b")
    assert ask("b")[0].text == "answer to b"


def test_the_service_may_ask_for_a_longer_wait(service: ScriptedService, ask: Ask) -> None:
    service.script = [(429, b"", {"Retry-After": "0.3"}, 0.0)]
    start = time.monotonic()
    ask("a")
    assert time.monotonic() - start >= 0.3


@pytest.mark.parametrize("slow", [(200, completion("late"), {}, 0.5), ("drip", completion("drop by drop"), {}, 0.0)])
def test_an_answer_is_whole_in_time_or_asked_for_again(service: ScriptedService, ask: Ask, slow: Answer) -> None:
    service.script = [slow]
    start = time.monotonic()
    assert ask("a", timeout_s=0.25)[0].text == "answer to a"
    assert time.monotonic() - start < 2.0


def test_a_huge_answer_is_an_error_and_is_not_read(service: ScriptedService, ask: Ask) -> None:
    service.script = [(200, b" " * 3_000_000, {}, 0.0)]
    with pytest.raises(SourceError, match="longer than 1,00"):
        ask("a", max_tokens=100)


def test_nobody_listens(ask: Ask) -> None:
    with pytest.raises(SourceError, match=r"http://127\.0\.0\.1:9/v1/chat/completions: no answer .*ConnectError"):
        ask("a", base_url="http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (completion(None, finish="content_filter"), ""),
        ({"choices": [{"message": {"content": None, "refusal": "I can't"}}], "usage": {}}, "I can't"),
    ],
)
def test_a_declining_answer_is_an_answer(service: ScriptedService, ask: Ask, body: Any, text: str) -> None:
    service.script = [(200, body, {}, 0.0)]
    (reply,) = ask("a")
    assert (reply.text, reply.refused) == (text, True)
    assert ask("a") == [reply]
    assert len(service.requests) == 1


def test_a_filter_that_says_400_declines(service: ScriptedService, ask: Ask) -> None:
    service.script = [(400, {"error": {"code": "content_filter", "message": "policy"}}, {}, 0.0)]
    (reply,) = ask("a")
    assert reply.refused
    assert reply.tokens == Tokens(0, 0)


def test_parts_of_a_message_are_joined(service: ScriptedService, ask: Ask) -> None:
    parts = [{"type": "text", "text": "one "}, {"type": "image", "url": "x"}, {"type": "text", "text": "two"}]
    service.script = [(200, {"choices": [{"message": {"content": parts}}]}, {}, 0.0)]
    assert ask("a")[0].text == "one two"


@pytest.mark.parametrize(
    ("status", "key"), [(401, "api_key_env"), (403, "api_key_env"), (400, "model"), (404, "model")]
)
def test_a_refusal_names_the_setting_and_is_not_tried_again(
    service: ScriptedService, ask: Ask, status: int, key: str
) -> None:
    service.usual = (status, f"no {KEY} \x1b[2J".encode(), {}, 0.0)
    with pytest.raises(ConfigError) as caught:
        ask("a", "b")
    assert caught.value.key == f"{SECTION}.{key}"
    assert "\x1b" not in str(caught.value)
    assert len(service.requests) == 1


# --- the key ---


@pytest.mark.parametrize("value", ["", "  ", "two words", "line\nend", "schlüssel"])
def test_a_key_that_is_none_is_an_error_before_any_request(
    service: ScriptedService, ask: Ask, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("MY_KEY", value)
    with pytest.raises(ConfigError) as caught:
        ask("a")
    assert caught.value.key == f"{SECTION}.api_key_env"
    assert not value.strip() or value not in str(caught.value)
    assert not service.requests


def test_without_a_variable_no_key_is_sent(service: ScriptedService, ask: Ask) -> None:
    ask("a", api_key_env="")
    assert "Authorization" not in service.requests[0][2]


def test_the_key_is_written_nowhere(
    service: ScriptedService, ask: Ask, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    long = "x" * 190  # what is shown is cut, perhaps within the key
    service.script = [
        (200, completion(f"your key is {KEY}"), {}, 0.0),
        (500, f"{long}{KEY}".encode(), {}, 0.0),
        (200, f'{{"key": "{KEY}"}}'.encode(), {}, 0.0),
        (500, KEY.encode(), {}, 0.0),
        (401, f"{long} {KEY}".encode(), {}, 0.0),
    ]
    said = [ask("a")[0].text]
    for _ in range(2):
        with pytest.raises((SourceError, ConfigError)) as caught:
            ask("b")
        said += [str(caught.value), repr(caught.value), repr(caught.value.__cause__)]
    said += [file.read_text() for file in tmp_path.rglob("*") if file.is_file()]
    everything = "\n".join([*said, caplog.text])
    assert "sk-secr" not in everything
    assert "your key is ***" in said[0]
    assert len(service.requests) == 5


def test_no_part_of_the_key_is_left_where_an_answer_is_cut(service: ScriptedService, ask: Ask, tmp_path: Path) -> None:
    declined = {"error": {"code": "content_filter", "message": "x" * 140 + KEY}}
    service.script = [
        (200, (" " * 380 + KEY).encode(), {}, 0.0),
        (200, {"choices": [], "you sent": "\n" * 180 + KEY}, {}, 0.0),
        (400, declined, {}, 0.0),
    ]
    said = []
    for text in "ab":
        with pytest.raises(SourceError) as caught:
            ask(text, retries=0)
        said.append(str(caught.value))
    said.append(ask("c")[0].text)
    said += [file.read_text() for file in tmp_path.rglob("*.json")]
    assert not any("sk-s" in text for text in said), said


# --- limits ---


def test_a_budget_of_tokens_stops_before_it_is_passed_and_a_rerun_goes_on(service: ScriptedService, ask: Ask) -> None:
    questions = [f"question {number}" for number in range(8)]
    budget = 1500
    with pytest.raises(BudgetError, match=rf"{SECTION}\.budget_tokens = 1500: stopped before") as caught:
        ask(*questions, max_tokens=200, budget_tokens=budget)
    first = len(service.requests)
    assert 0 < 300 * first <= budget
    assert 300 * (first + 1) + most_tokens(["be brief", "question 0"]) > budget, "it stops no earlier than it must"
    assert "kept" in str(caught.value)
    with pytest.raises(BudgetError):
        ask(*questions, max_tokens=200, budget_tokens=budget)
    assert len(service.requests) == first, "the same budget buys no more: what was paid before counts"
    replies = ask(*questions, max_tokens=200, budget_tokens=10 * budget)
    assert [reply.text for reply in replies] == [f"answer to {text}" for text in questions]
    assert len(service.requests) == len(questions), "nothing was asked twice"
    assert ask(*questions, max_tokens=200, budget_tokens=1) == replies, "what is kept costs nothing"


def test_a_budget_of_money(service: ScriptedService, ask: Ask) -> None:
    prices = {"price_in": 10.0, "price_out": 100.0, "max_tokens": 200}
    with pytest.raises(BudgetError, match=r"budget = 0\.05: .*is spent"):
        ask(*map(str, range(9)), budget=0.05, **prices)
    paid = len(service.requests) * (100 * 10 + 200 * 100) / 1e6
    assert 0.02 <= paid <= 0.05
    assert len(ask(*map(str, range(9)), budget=5.0, **prices)) == 9


def test_a_budget_of_money_needs_prices(ask: Ask) -> None:
    with pytest.raises(ConfigError, match="needs prices"):
        ask("a", budget=1.0)


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": -5, "completion_tokens": 1}, {"prompt_tokens": "9"}, 7])
def test_a_service_that_does_not_say_what_it_used_is_counted_as_the_most(
    service: ScriptedService, settings: Callable[..., ChatSettings], usage: Any
) -> None:
    body = {**completion("fine"), "usage": usage}
    service.usual = (200, body, {}, 0.0)
    with ChatClient(settings(), SECTION) as client:
        client.ask_all([question("a")])
        assert client.ledger.spent == Tokens(most_tokens(["be brief", "a"]), len(json.dumps(body)))


def test_what_is_lost_on_the_way_counts_and_what_is_refused_does_not(
    service: ScriptedService, settings: Callable[..., ChatSettings]
) -> None:
    service.script = [("drop", b"", {}, 0.0), (429, b"", {}, 0.0), (500, b"", {}, 0.0)]
    with ChatClient(settings(retries=3, max_tokens=50), SECTION) as client:
        client.ask_all([question("a")])
        assert client.ledger.spent == Tokens(100 + most_tokens(["be brief", "a"]), 200 + 50)


def test_requests_under_way_count_against_the_budget() -> None:
    ledger = Ledger(SECTION, Limits(tokens=100), Prices())
    ledger.reserve(Tokens(10, 40))
    ledger.reserve(Tokens(10, 40))
    with pytest.raises(BudgetError):
        ledger.reserve(Tokens(0, 1))
    ledger.settle(Tokens(10, 40), Tokens(5, 5))
    ledger.reserve(Tokens(20, 20))
    assert ledger.facts() == {"chat.tokens_sent": 5.0, "chat.tokens_answered": 5.0, "chat.cost": 0.0}


def test_no_text_has_more_tokens_than_is_counted() -> None:
    assert most_tokens(["abc", "ü"]) >= 3 + 2


def test_the_estimate_is_said_before_the_first_request(
    service: ScriptedService, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="flwr.fedcrucible")
    told: list[str] = []

    def listening(body: dict[str, Any]) -> Answer:
        told.append(caplog.text)
        return echo(body)

    service.usual = listening
    ask("a", "b", price_out=10.0)
    assert "estimate:" in told[0]
    assert "2 requests to writer" in told[0]
    assert "2 of 2 answers" in caplog.text
    caplog.clear()
    ask("a", "b")
    assert caplog.text == "", "what is kept costs nothing"


def test_an_estimate_above_the_budget_is_said(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="flwr.fedcrucible")
    with pytest.raises(BudgetError):
        ask(*map(str, range(20)), max_tokens=200, budget_tokens=1000)
    assert "above the budget of 1,000 tokens" in caplog.text


def test_requests_keep_their_distance(service: ScriptedService, ask: Ask) -> None:
    start = time.monotonic()
    ask("a", "b", "c", requests_per_minute=600.0, parallel=3)
    assert time.monotonic() - start >= 0.19


def test_pace_without_a_limit_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("waited"))
    Pace(0.0).wait()


def test_several_requests_are_under_way_at_once_and_answers_keep_their_order(
    service: ScriptedService, ask: Ask
) -> None:
    def slow(body: dict[str, Any]) -> Answer:
        text = body["messages"][-1]["content"]
        return 200, completion(f"answer to {text}"), {}, 0.1 if text == "a" else 0.02

    service.usual = slow
    replies = ask(*"abcd", parallel=4)
    assert [reply.text for reply in replies] == [f"answer to {letter}" for letter in "abcd"]
    assert 2 <= service.most_at_once <= 4


def test_of_two_that_want_the_same_answers_one_asks(
    service: ScriptedService, settings: Callable[..., ChatSettings]
) -> None:
    service.usual = lambda body: (*echo(body)[:3], 0.05)

    def asked(_: int) -> list[Reply]:
        with ChatClient(settings(parallel=2), SECTION) as client:
            return client.ask_all([question(text) for text in "abc"])

    with ThreadPoolExecutor(3) as pool:
        first, *others = pool.map(asked, range(3))
    assert others == [first] * 2
    assert len(service.requests) == 3


def test_an_error_stops_what_is_not_yet_under_way_and_keeps_what_came(service: ScriptedService, ask: Ask) -> None:
    service.script = [answer("one"), answer("two"), (400, b"no", {}, 0.0)]
    with pytest.raises(ConfigError):
        ask(*map(str, range(30)))
    assert len(service.requests) == 3
    assert [reply.text for reply in ask("0", "1")] == ["one", "two"]
    assert len(service.requests) == 3


# --- settings ---


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"base_url": "ftp://x"}, "base_url"),
        ({"extra": "{"}, "extra"),
        ({"extra": "[1]"}, "extra"),
        ({"extra": '{"model": "x"}'}, "extra"),
        ({"extra": '{"stream": true}'}, "extra"),
        ({"extra": '{"top_p": NaN}'}, "extra"),
        ({"extra": '{"top_p": 1e999}'}, "extra"),
        ({"extra": '{"user": "\\ud800"}'}, "extra"),
    ],
)
def test_bad_settings_are_named(ask: Ask, changes: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ask("a", **changes)
    assert caught.value.key == f"{SECTION}.{key}"


@pytest.mark.parametrize("changes", [{"temperature": -1}, {"timeout_s": 0}, {"api_key": KEY}, {"budget": -1}])
def test_values_out_of_range(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        ChatSettings(**changes)
