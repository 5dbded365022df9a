"""``--fault kill@2,late@3:1,stale-key``: what is to go wrong, checked before anything starts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from fedcrucible.rehearsal.fault import FAULTS, Fault, Placed
from fedcrucible_core.config.errors import ConfigError

KEY = "fault"
FORM = "kind@round, or kind@round:site, separated by commas"
WHOLE = (
    "setup,output,stale-key:0,duplicate:0,nan@1:1,inf@1:2,join@2:3,lie@2:1,oversize@2:2,truncated@3:1,"
    "type-confused@3:2,replay@4:3,late@4:2,kill-after@4:1,back@5:1,server-kill@5,disk@6,superlink-restart@7,"
    "kill-before@8:1,kill@8:2,revoked@8:3"
)
"""The whole matrix, for four sites or more; site 0 stays honest."""
SMALLEST = 2
"""Sites of a rehearsal at least: one fails, one goes on."""


@dataclass(frozen=True)
class Programme:
    """A checked rehearsal: every fault in its place, in the order given."""

    faults: tuple[Placed, ...]
    nodes: int
    rounds: int

    def of(self, kind: str) -> list[Placed]:
        """The faults of one kind."""
        return [placed for placed in self.faults if placed.kind == kind]

    def node_plan(self, site: int) -> str:
        """What a site's node is configured to do wrong: ``fault@round,fault@round``; empty for nothing."""
        mine = [FAULTS.create(placed.kind).on_node(placed) for placed in self.faults if placed.site == site]
        return ",".join(words for words in mine if words)

    @property
    def latecomers(self) -> frozenset[int]:
        """Sites that aren't there at the start."""
        return frozenset(placed.site for placed in self.of("join") if placed.site is not None)


def programme(text: str, nodes: int, rounds: int = 0) -> Programme:
    """The checked rehearsal of ``--fault``; ``rounds`` = 0: as many as the faults need.

    Sites that aren't named are chosen: the highest that is free and has not left, never 0. Raises ConfigError.
    """
    if nodes < SMALLEST:
        raise ConfigError("nodes", nodes, f"allowed: {SMALLEST} or more")
    told = [_parsed(word) for word in (text or WHOLE).split(",")]
    for placed in told:
        if placed.site is not None and not 0 <= placed.site < nodes:
            hint = "" if text else "; the whole matrix needs 4 or more (--nodes)"
            raise _refused(placed, f"there are sites 0 to {nodes - 1}{hint}")
    faults = _with_sites(told, nodes)
    last = max((placed.round + _kind(placed).rounds_after for placed in faults if placed.round is not None), default=2)
    if rounds and rounds < last:
        latest = max((placed for placed in faults if placed.round is not None), key=lambda placed: placed.round or 0)
        raise ConfigError("rounds", rounds, f"{latest} can be judged after round {last}; allowed: {last} or more")
    _check_servers(faults)
    _check_everybody(faults, nodes)
    return Programme(tuple(faults), nodes, rounds or last)


def _parsed(word: str) -> Placed:
    word = word.strip()
    kind, sited, site_text = word.partition(":")
    kind, at, round_text = kind.partition("@")
    fault = FAULTS[kind]  # or it names what there is
    when, site = _number(word, round_text) if at else None, _number(word, site_text) if sited else None
    placed = Placed(kind, when, site)
    if fault.takes_round and when is None:
        raise ConfigError(KEY, word, f"{kind} needs its round, e.g. {kind}@{fault.first_round or 2}; allowed: {FORM}")
    if not fault.takes_round and when is not None:
        raise ConfigError(KEY, word, f"{kind} has no round: it is there from the start; allowed: {kind}")
    if when is not None and when < fault.first_round:
        raise ConfigError(KEY, word, f"{kind} can happen in round {fault.first_round} at the earliest")
    if not fault.takes_site and site is not None:
        raise ConfigError(KEY, word, f"{kind} befalls the server, no site; allowed: {replace(placed, site=None)!s}")
    return placed


def _number(word: str, text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 6:
        raise ConfigError(KEY, word, f"{text!r} is no whole number; allowed: {FORM}")
    return int(text)


def _kind(placed: Placed) -> type[Fault]:
    return FAULTS[placed.kind]


def _refused(placed: Placed, why: str) -> ConfigError:
    return ConfigError(KEY, str(placed), why)


def _with_sites(told: Sequence[Placed], nodes: int) -> list[Placed]:
    """Every site fault with its site; those that were named first, for the others must keep out of their way."""
    found: dict[int, Placed] = {}
    order = sorted(range(len(told)), key=lambda i: (told[i].site is None, told[i].round or 0, i))
    for i in order:
        placed = told[i]
        if _kind(placed).takes_site and placed.site is None:
            placed = _seated(placed, list(found.values()), nodes)
        elif placed.site is not None:
            fault = _objection(placed, list(found.values()))
            if fault:
                raise _refused(placed, fault)
        found[i] = placed
    return [found[i] for i in range(len(told))]


def _seated(placed: Placed, others: Sequence[Placed], nodes: int) -> Placed:
    candidates: Iterable[int] = range(nodes - 1, 0, -1)
    if placed.kind == "back":
        candidates = [other.site for other in others if _kind(other).removes_site and other.site is not None]
    elif not _kind(placed).takes_round:
        return replace(placed, site=0)
    reasons = []
    for site in candidates:
        seated = replace(placed, site=site)
        why = _objection(seated, others)
        if not why:
            return seated
        reasons.append(f"site {site}: {why}")
    raise _refused(placed, "no site is left for it: " + ("; ".join(reasons) or "back needs a kill in an earlier round"))


def _objection(placed: Placed, others: Sequence[Placed]) -> str:
    """Why a fault can't befall its site, given those that are placed; empty where it can."""
    now, mine = placed.round, [other for other in others if other.site == placed.site and other.round is not None]
    if now is None:
        return ""
    if any(other.round == now for other in mine):
        return f"one fault a round; it has {next(str(other) for other in mine if other.round == now)}"
    left = [other for other in mine if _kind(other).removes_site and (other.round or 0) < now]
    back = [other for other in mine if other.kind == "back" and (other.round or 0) < now]
    if placed.kind == "back":
        if not [other for other in left if other.kind != "revoked"]:
            return "back needs a kill of that site in an earlier round"
    elif len(left) > len(back):
        return f"it has left with {left[-1]}"
    if placed.kind == "join" and any((other.round or 0) < now for other in mine):
        return "it isn't there before it joins"
    if placed.kind == "replay" and not _works_before(now, mine):
        return "it has no round of honest work before that it could send again"
    joins = [other for other in mine if other.kind == "join" and now <= (other.round or 0)]
    return f"it isn't there before {joins[0]}" if joins else ""


def _works_before(now: int, mine: Sequence[Placed]) -> bool:
    """Whether a site has an undisturbed round between its arrival and the round ``now``."""
    first = max((other.round or 0 for other in mine if other.kind in {"join", "back"}), default=0)
    return bool(set(range(first + 1, now)) - {other.round for other in mine})


def _check_servers(faults: Sequence[Placed]) -> None:
    """One end of the server a round: a second one would strike the run that the first has ended."""
    seen: dict[int, Placed] = {}
    for placed in faults:
        if _kind(placed).cuts_server and placed.round is not None:
            if placed.round in seen:
                raise _refused(placed, f"the server ends in that round already by {seen[placed.round]}")
            seen[placed.round] = placed


def _check_everybody(faults: Sequence[Placed], nodes: int) -> None:
    """Some site must reply in every round, or nothing would be aggregated and nothing shown."""
    for now in sorted({placed.round for placed in faults if placed.round is not None and placed.site is not None}):
        if all(_silent(site, now, faults) for site in range(nodes)):
            raise ConfigError("nodes", nodes, f"no site would reply validly in round {now}; one more is needed")


def _silent(site: int, now: int, faults: Sequence[Placed]) -> bool:
    """Whether a site has no valid reply in a round, as far as is planned."""
    mine = [placed for placed in faults if placed.site == site and placed.round is not None]
    if any(placed.round == now and placed.kind not in {"back", "join"} for placed in mine):
        return True
    earlier = [placed for placed in mine if (placed.round or 0) < now]
    away = sum(_kind(p).removes_site for p in earlier) - sum(p.kind == "back" for p in earlier)
    return away > 0 or any(placed.kind == "join" and (placed.round or 0) >= now for placed in mine)
