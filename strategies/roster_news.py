"""What a run's notes say about who takes part: who is missing, who came, who left, who isn't used and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

MOST_NODES = 20
"""Unused nodes that the notes of one round name."""


class Holder(Protocol):
    """A node that holds a partition."""

    @property
    def node_id(self) -> int:
        """Flower's id of the node."""

    @property
    def partition(self) -> int:
        """The partition it holds."""

    @property
    def own_data(self) -> bool:
        """Whether it trains on data of its own."""


class RosterNews:
    """Compares what is seen with what was told before; everything is told once.

    ``excluded`` are the partitions that were left out until now, for a run that goes on.
    """

    def __init__(self, clients: int, excluded: frozenset[int] = frozenset()) -> None:
        self.clients = clients
        self._present: dict[int, int] | None = None
        self._own: list[int] = []
        self._causes: dict[int, str] = {}
        self._labels: dict[int, str] = {}
        self._excluded: frozenset[int] = frozenset()
        self._told: dict[int, int] | None = None
        self._told_excluded = excluded
        self._told_causes: dict[int, str] = {}
        self._told_own: list[int] = []
        self._last: dict[int, int] = {}
        """Partition to the node that last held it when something was told."""

    def see(
        self,
        present: Sequence[Holder],
        causes: Mapping[int, str],
        labels: Mapping[int, str],
        excluded: frozenset[int] = frozenset(),
    ) -> None:
        """The nodes that take part now, why others don't (by node id), how notes call nodes; excluded partitions."""
        self._excluded = excluded
        self._present = {node.partition: node.node_id for node in present}
        self._own = sorted(node.partition for node in present if node.own_data)
        self._causes = dict(causes)
        self._labels |= labels

    def take(self) -> list[str]:
        """Notes on what changed since the last call; none before anything was seen."""
        if self._present is None:
            return []
        notes = self._exclusions()
        notes += self._at_the_start(self._present) if self._told is None else self._changes(self._told, self._present)
        if set(self._own) - set(self._told_own):
            notes.append(f"{partitions(self._own, 'client')} on data of their nodes' own (own-data)")
        fresh = {i: cause for i, cause in self._causes.items() if self._told_causes.get(i) != cause}
        notes += [f"{self._label(i)} is not used: {cause}" for i, cause in list(fresh.items())[:MOST_NODES]]
        if len(fresh) > MOST_NODES:
            notes.append(f"{len(fresh) - MOST_NODES} more nodes are not used")
        self._told, self._told_own = dict(self._present), list({*self._told_own, *self._own})
        self._told_causes |= fresh
        self._told_excluded = self._excluded
        self._last |= self._present
        return notes

    def _exclusions(self) -> list[str]:
        """Who is left out from now on, and who no longer is."""
        notes = []
        for who, what in (
            (self._excluded - self._told_excluded, "excluded from now on"),
            (self._told_excluded - self._excluded, "no longer excluded"),
        ):
            if who:
                notes.append(f"{what} (federation.excluded): {partitions(sorted(who), 'client')}")
        return notes

    def _at_the_start(self, present: Mapping[int, int]) -> list[str]:
        missing = [k for k in range(self.clients) if k not in present and k not in self._excluded]
        if not missing:
            return []
        return [
            f"{len(present)} of {self.clients} clients take part: no usable node is online for {partitions(missing)}"
        ]

    def _changes(self, before: Mapping[int, int], now: Mapping[int, int]) -> list[str]:
        notes = []
        gone = sorted(set(before) - set(now) - self._excluded)
        if gone:
            notes.append(f"not online any more: {partitions(gone, 'client')}")
        for partition, node_id in sorted(now.items()):
            last = self._last.get(partition, node_id)
            if last != node_id:
                notes.append(f"partition {partition}: {self._label(node_id)} takes the place of {self._label(last)}")
        new = sorted(set(now) - set(before))
        came = [partition for partition in new if self._last.get(partition, now[partition]) == now[partition]]
        if came:
            notes.append(f"online from now on: {partitions(came, 'client')}")
        return notes

    def _label(self, node_id: int) -> str:
        return self._labels.get(node_id, f"node {node_id}")


def partitions(numbers: Sequence[int], word: str = "partition") -> str:
    """``partition 3``, or ``partitions 0, 3 to 7``, of ascending numbers."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    shown = [f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs]
    more = [f"and {len(shown) - MOST_NODES} more ranges"] if len(shown) > MOST_NODES else []
    return f"{word}{'s' if len(numbers) != 1 else ''} {', '.join([*shown[:MOST_NODES], *more])}"
