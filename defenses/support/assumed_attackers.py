"""Rules that need a number of attackers: where it comes from and how many a rule tolerates."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from pydantic import Field

from defenses.base import AggregationRule, ClientUpdates
from fedcrucible_core.config import ConfigError


class AssumesAttackers(AggregationRule):
    """A rule with a parameter f, the number of attackers among a round's n clients.

    An f set by hand must satisfy the rule's condition.  If replies are missing, f is lowered to the largest value that
    the remaining n allows: no attacker may stop a run by sending rubbish.  f = -1 takes ``defense.assumed_malicious``,
    at most the largest value allowed, and that value itself where nothing is assumed.
    """

    knowledge: ClassVar[tuple[str, ...]] = ("number of attackers",)
    condition: ClassVar[str] = ""
    """What n and f must fulfil, as printed in errors."""
    f: int = Field(
        -1,
        ge=-1,
        description="Attackers among a round's clients; -1 = what the server assumes, as far as tolerated",
    )

    @classmethod
    @abstractmethod
    def largest_f(cls, n: int) -> int:
        """Most attackers that the rule tolerates among n >= ``min_clients`` clients."""

    def attackers(self, updates: ClientUpdates) -> int:
        """The f of this round. Raises ValueError when there are too few clients, or too few for the f set by hand."""
        n, assumed = len(updates), updates.server.assumed_malicious
        if n < self.min_clients:
            raise ValueError(f"{self.name} needs at least {self.min_clients} clients, got n = {n}")
        largest = self.largest_f(n)
        if self.f > largest and updates.server.sampled > n:
            return largest
        if self.f > largest:
            raise ValueError(f"{self.name} can't tolerate f = {self.f} attackers among n = {n}: {self.condition}")
        if self.f >= 0:
            return self.f
        return min(assumed, largest) if assumed >= 0 else largest

    def check(self, clients: int, malicious: int) -> None:
        """Raise ConfigError when ``clients`` participants are too few, or too few for the f set by hand."""
        super().check(clients, malicious)
        largest = self.largest_f(clients)
        if self.f > largest:
            raise ConfigError(
                f"defense.{self.name}.f", self.f, f"at most {largest} with {clients} clients a round ({self.condition})"
            )
