"""Asks a chat model that speaks the OpenAI API: kept answers first, then the service, within a budget.

What is sent are the model's name, the messages, the sampling parameters and, in a header, the key. The key comes from
the environment when it is needed and is in no file, message or log.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from fedcrucible_core.config.places import cache_folder
from fedcrucible_core.config.plain_text import plain_text
from fedcrucible_core.foundation.answer_cache import AnswerCache, Reply, Request, are_counts
from fedcrucible_core.foundation.cache import digest, one_at_a_time
from fedcrucible_core.foundation.chat_budget import Ledger, Limits, Prices, Tokens, likely_tokens, most_tokens
from fedcrucible_core.foundation.chat_settings import ChatSettings
from fedcrucible_core.foundation.http_retry import Retry, excerpt
from fedcrucible_core.foundation.http_service import Service, open_client, post_bounded
from fedcrucible_core.foundation.pacing import Pace

if TYPE_CHECKING:
    import httpx

PATH = "/chat/completions"
FILTERED = ("content_filter", "content_policy")
"""What services call it when their filter declines, as the reason of an answer's end or the code of an error 400."""
USAGE = ("prompt_tokens", "completion_tokens")
LOG = logging.getLogger("flwr.fedcrucible")
"""Below Flower's own logger, so that its level and its stream hold."""


class ChatClient:
    """One model's answers, asked for once each; threads share it. Use it in a ``with`` block."""

    def __init__(self, settings: ChatSettings, section: str, cache_dir: str | Path = "") -> None:
        """``section`` is where the settings stand, e.g. ``synthetic.llm``; nothing is asked yet.

        Raises:
            ConfigError: an address, further fields or a budget that can't be.
        """
        settings.check_limits(section)
        retry = Retry(settings.retries, settings.backoff_s)
        self.settings = settings
        self.service = Service(section, settings.base_url, settings.model, settings.api_key_env, retry)
        self.url = self.service.url(PATH)
        self.fields = settings.further_fields(section)
        parameters = json.dumps([settings.temperature, settings.max_tokens, self.fields], sort_keys=True)
        folder = cache_folder(settings.keep_dir or cache_dir) / "answers"
        self.cache = AnswerCache(folder, ("chat", self.url, settings.model, parameters))
        limits = Limits(settings.budget, settings.budget_tokens)
        self.ledger = Ledger(section, limits, Prices(settings.price_in, settings.price_out))
        self._pace = Pace(settings.requests_per_minute)
        self._client: httpx.Client | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> ChatClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def ask_all(self, requests: Sequence[Request], likely_answer: int = 0) -> list[Reply]:
        """The answer to each request, in order; those that are kept cost nothing.

        Of two processes that want the same answers one asks; the other waits for it, and finds them kept.  Before the
        first request that costs, what all of them will about cost is logged.  After an error no further request is
        begun; what arrives of those under way is kept.

        Args:
            requests: equal ones must differ in ``sample``, else they are one.
            likely_answer: about how many tokens one answer has, for the estimate.

        Raises:
            ConfigError: no key, or the service refuses the key or the request.
            BudgetError: the next request could pass the budget.
            SourceError: the service can't be reached, keeps failing or answers something else.
        """
        found = self._kept(requests, [None] * len(requests))
        with self._alone(requests) if None in found else nullcontext():
            found = self._kept(requests, found)
            for reply in found:
                if reply is not None:
                    self.ledger.add(reply.tokens)
            waiting = [request for request, reply in zip(requests, found, strict=True) if reply is None]
            fresh = iter(self._fresh(waiting, len(requests), likely_answer) if waiting else ())
            return [reply if reply is not None else next(fresh) for reply in found]

    def _kept(self, requests: Sequence[Request], found: Sequence[Reply | None]) -> list[Reply | None]:
        """What is ``found``, and in the place of None what is kept."""
        return [reply or self.cache.read(request) for request, reply in zip(requests, found, strict=True)]

    def _alone(self, requests: Sequence[Request]) -> AbstractContextManager[None]:
        """Inside, nobody else asks the same."""
        names = (self.cache.path(request).name for request in requests)
        return one_at_a_time(self.cache.folder.with_name("answers-asked-for") / digest(*names))

    def _fresh(self, waiting: Sequence[Request], of: int, likely_answer: int) -> list[Reply]:
        """The service's answers, in order."""
        key = self.service.key()
        self._announce(waiting, of, likely_answer)
        progress = _Progress(len(waiting), self.ledger)
        failed = threading.Event()

        def answer(request: Request) -> Reply | None:
            if failed.is_set():
                return None
            try:
                reply = self._ask(request, key)
            except BaseException:
                failed.set()
                raise
            progress.one_more()
            return reply

        with ThreadPoolExecutor(self.settings.parallel) as pool:
            return [reply for reply in pool.map(answer, waiting) if reply is not None]

    def _ask(self, request: Request, key: str) -> Reply:
        """One answer from the service, kept before it is returned."""
        texts = [turn.text for turn in request.turns]
        most = Tokens(most_tokens(texts), self.settings.max_tokens)
        body = {
            **self.fields,
            "model": self.settings.model,
            "messages": [{"role": turn.role, "content": turn.text} for turn in request.turns],
            "temperature": self.settings.temperature,
            self.settings.max_tokens_field: self.settings.max_tokens,
        }
        answer = self.service.send(
            partial(self._once, body, key, most), self.url, key, lambda got: _read(got, most).trouble
        )
        reply = _read(answer, most).reply
        assert reply is not None  # an answer with trouble is not returned
        if key:  # a service may repeat what it was sent
            reply = Reply(reply.text.replace(key, "***"), reply.refused, reply.tokens)
        self.cache.write(request, reply)
        return reply

    def _once(self, body: dict[str, Any], key: str, most: Tokens) -> httpx.Response:
        """One try, paid for: what is lost on the way may have been charged, so it counts as the most it can be."""
        import httpx

        self.ledger.reserve(most)
        used = most
        try:
            self._pace.wait()
            bound = 1_000_000 + 64 * self.settings.max_tokens
            answer = post_bounded(self._open(), self.url, body, key, self.settings.timeout_s, bound)
            if answer.status_code == 400 and any(word in answer.text for word in FILTERED):
                answer = _declined(answer, key)
            used = _read(answer, most).used if answer.is_success else Tokens(0, 0)
            return answer
        except (httpx.ConnectError, httpx.ConnectTimeout):
            used = Tokens(0, 0)
            raise
        finally:
            self.ledger.settle(most, used)

    def _open(self) -> httpx.Client:
        with self._lock:
            if self._client is None:
                self._client = open_client(self.settings.timeout_s)
            return self._client

    def _announce(self, waiting: Sequence[Request], of: int, likely_answer: int) -> None:
        sent = sum(likely_tokens(turn.text for turn in request.turns) for request in waiting)
        likely = Tokens(sent, len(waiting) * min(likely_answer or self.settings.max_tokens, self.settings.max_tokens))
        kept = f", {of - len(waiting)} are kept from before" if of > len(waiting) else ""
        model, limits, prices = plain_text(self.settings.model), self.ledger.limits, self.ledger.prices
        LOG.info("%d requests to %s at %s%s", len(waiting), model, plain_text(self.url), kept)
        LOG.info("estimate: %s tokens sent, %s answered, cost %.4f", *_grouped(likely), prices.of(likely))
        planned = self.ledger.spent.plus(likely)
        over_tokens = limits.tokens and planned.total() > limits.tokens
        if over_tokens or (limits.money and prices.of(planned) > limits.money):
            LOG.warning("that is above the budget of %s: the run will stop there, and keep its answers", self._budget())

    def _budget(self) -> str:
        limits = self.ledger.limits
        parts = [f"{limits.money:g}"] if limits.money else []
        return " or ".join([*parts, f"{limits.tokens:,} tokens"] if limits.tokens else parts)


class _Progress:
    """Says how far it is, ten times at most."""

    def __init__(self, of: int, ledger: Ledger) -> None:
        self.of = of
        self.ledger = ledger
        self._done = 0
        self._lock = threading.Lock()

    def one_more(self) -> None:
        with self._lock:
            before, self._done = self._done, self._done + 1
            if self._done * 10 // self.of == before * 10 // self.of:
                return
            spent = self.ledger.spent
            money = self.ledger.prices.of(spent)
        LOG.info(
            "%d of %d answers: %s tokens sent, %s answered, cost %.4f", self._done, self.of, *_grouped(spent), money
        )


def _grouped(tokens: Tokens) -> tuple[str, str]:
    return f"{tokens.sent:,}", f"{tokens.answered:,}"


@dataclass(frozen=True)
class _Reading:
    """What an answer of the service came to: a reply, or what is wrong with it; and what it is counted as."""

    reply: Reply | None
    used: Tokens
    trouble: str = ""
    """Not yet cut: the key is taken out first, and then none of its parts is left at the end."""


def _read(answer: httpx.Response, most: Tokens) -> _Reading:
    """Reads a chat completion; nothing that it says is trusted to be of any type."""
    unknown = Tokens(most.sent, len(answer.content))
    try:
        body: Any = json.loads(answer.content)
    except (ValueError, RecursionError):
        return _Reading(None, unknown, f"not JSON: {answer.text}")
    usage: Any = body.get("usage") if isinstance(body, dict) else None
    counts: Any = [usage.get(name) for name in USAGE] if isinstance(usage, dict) else []
    used = Tokens(*counts) if counts and are_counts(counts) else unknown
    try:
        choice = body["choices"][0]
        message, ended = choice["message"], choice.get("finish_reason")
        text, refusal = _joined(message.get("content")), message.get("refusal")
    except (KeyError, IndexError, TypeError, AttributeError):
        return _Reading(None, used, f"no chat completion: {answer.text}")
    refused = ended in FILTERED or bool(refusal)
    if not text and isinstance(refusal, str):
        text = refusal
    return _Reading(Reply(text, refused, used), used)


def _joined(content: Any) -> str:
    """The text of a message: a text, a list of parts, or nothing. Raises TypeError for something else."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(part["text"] for part in content if part.get("type") == "text")
    raise TypeError("a message is a text or a list of parts")


def _declined(answer: httpx.Response, key: str) -> httpx.Response:
    """A filter's error 400 as what it means: an answer that declines."""
    import httpx

    message = {"content": None, "refusal": excerpt(answer.text, key)}
    choice = {"message": message, "finish_reason": FILTERED[0]}
    return httpx.Response(200, json={"choices": [choice], "usage": dict.fromkeys(USAGE, 0)})
