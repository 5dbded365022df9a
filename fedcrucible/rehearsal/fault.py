"""What can go wrong in a rehearsal: how it is brought about, and what an operator must then see."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from fedcrucible_core.config.component import Component
from fedcrucible_core.config.registry import Registry
from fedcrucible_core.records.schema import RoundRecord


@dataclass(frozen=True)
class Placed:
    """One fault of a rehearsal; ``round`` and ``site`` are None where its kind takes none."""

    kind: str
    round: int | None = None
    site: int | None = None

    def __str__(self) -> str:
        at = "" if self.round is None else f"@{self.round}"
        return f"{self.kind}{at}" + ("" if self.site is None else f":{self.site}")


@dataclass(frozen=True)
class Cut:
    """The server's end in the midst of a run, and what was recorded then: a round's number to its line's content."""

    fault: Placed
    moment: str
    before: Mapping[int, str]


@dataclass(frozen=True)
class Attempt:
    """A run that is to fail: what its operator was told, and how many rounds it recorded."""

    said: str
    rounds: int


@dataclass
class Evidence:
    """What a rehearsal has left behind."""

    rounds: Mapping[int, RoundRecord]
    """The recorded rounds of training by number, 0 included."""
    notes: Sequence[str] = ()
    """The summary's."""
    lines: Mapping[int, str] = field(default_factory=dict)
    """A round's number to its line's content, as it stands in the end."""
    cuts: Sequence[Cut] = ()
    attempts: Mapping[str, Attempt] = field(default_factory=dict)
    """By kind of fault."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """By kind of fault: the last words of a SuperNode that the SuperLink turned away, and that has ended."""
    died: frozenset[int] = frozenset()
    """Sites whose SuperNode was seen to have ended."""
    keys: Sequence[str] = ()
    """Fingerprints of the keys that took part, as the record's events tell them."""
    stranger: str = ""
    """The fingerprint of a key that was never registered."""

    def cause(self, round: int, site: int) -> str:
        """Why a site's reply of a round was dropped; empty where it wasn't."""
        found = self.rounds.get(round)
        return "" if found is None else found.dropped.get(str(site), "")

    def lost(self, site: int, first: int, last: int | None = None) -> list[int]:
        """Rounds from ``first`` to ``last`` (the end by default) that had no valid reply of a site."""
        return [
            number
            for number, record in sorted(self.rounds.items())
            if number >= max(first, 1)
            and (last is None or number <= last)
            and (str(site) in record.dropped or site in record.absent)
        ]

    def accepted(self, site: int, first: int, last: int | None = None) -> list[int]:
        """Rounds in which a site's reply had a weight."""
        return [
            number
            for number, record in sorted(self.rounds.items())
            if number >= first and (last is None or number <= last) and site in record.accepted
        ]


@dataclass(frozen=True)
class Judgement:
    """What came of one fault: what the operator saw, what was lost, and what is not as documented (empty: nothing)."""

    seen: str
    lost: str
    wrong: str = ""


class Scene(Protocol):
    """What a fault may do to the federation; implemented by ``stage.py``."""

    def start_site(self, site: int) -> None:
        """Start a site's SuperNode that doesn't run."""

    def revoke_site(self, site: int) -> None:
        """Unregister a site's key."""

    def kill_server(self) -> None:
        """Kill the server process (ServerApp) of the run, SIGKILL, at some moment from now on."""

    def restart_superlink(self) -> None:
        """Kill the SuperLink with all its processes, and start it again on its database."""

    def fill_disk(self) -> None:
        """Leave no room where the record lies."""


class Fault(Component):
    """One kind of fault, registered by the name that ``--fault`` takes."""

    takes_round: ClassVar[bool] = True
    takes_site: ClassVar[bool] = True
    first_round: ClassVar[int] = 1
    """The earliest round in which it can happen."""
    rounds_after: ClassVar[int] = 1
    """Rounds that must follow, for its end to be seen."""
    removes_site: ClassVar[bool] = False
    """Whether the site is gone afterwards."""
    strikes_again: ClassVar[bool] = False
    """Whether it is brought about again where its round begins again, in a run that was resumed before it."""
    cuts_server: ClassVar[bool] = False
    """Whether the run ends by it and is resumed."""

    def on_node(self, placed: Placed) -> str:  # noqa: ARG002
        """What the site's node is configured to do, ``fault@round``; empty for honest work."""
        return ""

    def strike(self, placed: Placed, scene: Scene) -> None:
        """Told when its round begins; round 0: when the run has been accepted."""

    @abstractmethod
    def judge(self, placed: Placed, evidence: Evidence) -> Judgement:
        """What came of it."""


FAULTS: Registry[Fault] = Registry("fault", "fedcrucible.rehearsal.faults", key="fault")


def replies(rounds: Sequence[int]) -> str:
    """Lost replies in words."""
    if not rounds:
        return "nothing"
    which = ", ".join(map(str, rounds))
    return f"{len(rounds)} repl{'y' if len(rounds) == 1 else 'ies'} (round{'' if len(rounds) == 1 else 's'} {which})"
