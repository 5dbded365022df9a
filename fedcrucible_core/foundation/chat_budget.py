"""What a chat model costs: the estimate before, the sum meanwhile, and the limit that is never passed."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from fedcrucible_core.foundation.base import SourceError

PER_MESSAGE = 16
"""Tokens that a service may add to each message for its own marks, at most."""
BYTES_PER_TOKEN = 4
"""Of English, about; for estimates only."""


class Tokens(NamedTuple):
    """Tokens sent and answered."""

    sent: int
    answered: int

    def total(self) -> int:
        """Both together."""
        return self.sent + self.answered

    def plus(self, other: Tokens) -> Tokens:
        """The sum."""
        return Tokens(self.sent + other.sent, self.answered + other.answered)

    def minus(self, other: Tokens) -> Tokens:
        """The difference."""
        return Tokens(self.sent - other.sent, self.answered - other.answered)


class BudgetError(SourceError):
    """The next request could pass the budget, so it was not sent; what was answered before is kept."""


@dataclass(frozen=True)
class Prices:
    """Money per million tokens."""

    sent: float = 0.0
    answered: float = 0.0

    def of(self, tokens: Tokens) -> float:
        """What the tokens cost."""
        return (tokens.sent * self.sent + tokens.answered * self.answered) / 1e6


@dataclass(frozen=True)
class Limits:
    """The most that may be spent; 0 = no limit."""

    money: float = 0.0
    tokens: int = 0


def most_tokens(messages: Iterable[str]) -> int:
    """No tokenizer makes more of these messages: every token is at least one byte of UTF-8."""
    return sum(len(text.encode()) + PER_MESSAGE for text in messages)


def likely_tokens(messages: Iterable[str]) -> int:
    """About how many tokens these messages are."""
    return sum(-(-len(text.encode()) // BYTES_PER_TOKEN) + PER_MESSAGE // 4 for text in messages)


class Ledger:
    """Counts what is spent, and what requests under way may still cost; threads may share it.

    A request is let through only if the budget would hold even if it and all others under way cost the most they can.
    """

    def __init__(self, section: str, limits: Limits, prices: Prices) -> None:
        self.section = section
        self.limits = limits
        self.prices = prices
        self.spent = Tokens(0, 0)
        self._under_way = Tokens(0, 0)
        self._lock = threading.Lock()

    def reserve(self, most: Tokens) -> None:
        """Set aside what one request may cost. Raises BudgetError where that could pass a limit."""
        with self._lock:
            planned = self.spent.plus(self._under_way).plus(most)
            limits, money = self.limits, self.prices.of(planned)
            if limits.tokens and planned.total() > limits.tokens:
                used = f"{self.spent.total():,} tokens are used, and the next request may take {most.total():,}"
                raise self._exceeded("budget_tokens", str(limits.tokens), used)
            if limits.money and money > limits.money:
                used = f"{self.prices.of(self.spent):.4f} is spent, and the next may cost {self.prices.of(most):.4f}"
                raise self._exceeded("budget", f"{limits.money:g}", used)
            self._under_way = self._under_way.plus(most)

    def settle(self, most: Tokens, used: Tokens) -> None:
        """The request for which ``most`` was set aside took ``used``."""
        with self._lock:
            self._under_way = self._under_way.minus(most)
            self.spent = self.spent.plus(used)

    def add(self, used: Tokens) -> None:
        """Count what was paid for before, and is now used again: never refused, for it costs nothing."""
        with self._lock:
            self.spent = self.spent.plus(used)

    def facts(self) -> dict[str, float]:
        """What the answers in use took, whenever they were paid for."""
        tokens = self.spent
        return {
            "chat.tokens_sent": float(tokens.sent),
            "chat.tokens_answered": float(tokens.answered),
            "chat.cost": self.prices.of(tokens),
        }

    def _exceeded(self, key: str, limit: str, used: str) -> BudgetError:
        return BudgetError(
            f"{self.section}.{key} = {limit}: stopped before it is exceeded: {used}. All answers so far are kept; "
            "raise it and run again to go on from there"
        )
