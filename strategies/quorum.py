"""Which sites a run can't do without (``federation.quorum``, ``federation.required``), and the rounds that lost any."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.plain_text import plain_text
from fedcrucible_core.config.sections import FederationSection
from strategies.bindings import KEY as BINDINGS_KEY
from strategies.bindings import Bindings
from strategies.roster_news import MOST_NODES, partitions
from strategies.sampling import participants_per_round

COUNT, NAMED = "federation.quorum", "federation.required"
EVERYBODY = "all"
ABSENT = "no usable node was online"


@dataclass(frozen=True)
class Quorum:
    """What the settings require.  A round goes on with the replies that came, but what is missing is never silent."""

    count: int
    """Valid replies that every round needs, and nodes that must be there at the start; 0 = no such number."""
    required: tuple[int, ...]
    """Partitions that must be there at the start and give a valid reply in every round in which they are asked."""
    names: Mapping[int, str]
    """What the operator calls some of them (``federation.node_partitions``)."""

    @classmethod
    def of(cls, settings: FederationSection) -> Quorum:
        """What the settings require. Raises ConfigError for what can't be had."""
        sampled = participants_per_round(settings)
        if settings.quorum > sampled:
            raise ConfigError(COUNT, settings.quorum, f"at most the {sampled} clients sampled each round; 0 = none")
        bindings = Bindings.of(settings)
        listed = {} if bindings is None else bindings.partitions
        return cls(settings.quorum, _named(settings, listed), {partition: name for name, partition in listed.items()})

    @property
    def asks(self) -> bool:
        """Whether anything is required at all."""
        return bool(self.count or self.required)

    def shortage(self, present: Collection[int], excluded: Collection[int] = ()) -> list[str]:
        """What is missing at the start, where ``present`` are the partitions that can be used; nothing where all is.

        Nobody requires those that ``federation.excluded`` leaves out.
        """
        found = []
        if len(present) < self.count:
            found.append(f"{len(present)} clients can be used, {self.count} required ({COUNT})")
        missing = [p for p in self.required if p not in present and p not in excluded]
        if missing:
            named = ", ".join(self._label(p) for p in missing if p in self.names)
            which = partitions(missing, "client") + (f" ({named})" if named else "")
            found.append(f"{which} not there, required ({NAMED})")
        return found

    def missed(self, valid: Collection[int], dropped: Mapping[int, str], absent: Collection[int]) -> str:
        """Why a round is degraded, with every site that it lost and the cause; empty where it isn't."""
        lost = dict.fromkeys(absent, ABSENT) | dict(dropped)
        named = [partition for partition in self.required if partition in lost]
        if len(valid) >= self.count and not named:
            return ""
        few = f"{len(valid)} valid replies of {self.count} required" if len(valid) < self.count else ""
        shown = named if not few else sorted(lost)
        causes = [f"{self._label(partition)} ({lost[partition]})" for partition in shown[:MOST_NODES]]
        causes += [f"and {len(shown) - MOST_NODES} more"] if len(shown) > MOST_NODES else []
        return "; ".join(part for part in (few, f"lost: {', '.join(causes)}" if causes else "") if part)

    def _label(self, partition: int) -> str:
        name = self.names.get(partition)
        return f"client {partition}" if name is None else f"client {partition} = {plain_text(name, 60)}"


def _named(settings: FederationSection, listed: Mapping[str, int]) -> tuple[int, ...]:
    text = settings.required.strip()
    if text == EVERYBODY:
        return tuple(range(settings.clients))
    found = set()
    for entry in (part.strip() for part in text.split(",") if part.strip()):
        if entry.isascii() and entry.isdigit() and len(entry) < 10 and int(entry) < settings.clients:
            found.add(int(entry))
        elif entry in listed:
            found.add(listed[entry])
        else:
            allowed = f"partitions from 0 to {settings.clients - 1}, nodes that {BINDINGS_KEY} lists, or {EVERYBODY}"
            raise ConfigError(NAMED, settings.required, f"{entry!r} is neither; allowed by commas: {allowed}")
    return tuple(sorted(found))
