"""What a run's notes say about who takes part: who is missing, who came, who left, who isn't used and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from strategies.node import Node
from strategies.virtual_nodes import Holders, declaring

MOST_NODES = 20
"""Unused nodes that the notes of one round name."""


class RosterNews:
    """Compares what is seen with what was told before; everything is told once.

    ``excluded`` are the partitions that were left out until now, for a run that goes on.
    """

    def __init__(self, clients: int, excluded: frozenset[int] = frozenset()) -> None:
        self.clients = clients
        self._present: Holders | None = None
        self._own: list[int] = []
        self._causes: dict[int, str] = {}
        self._labels: dict[int, str] = {}
        self._excluded: frozenset[int] = frozenset()
        self._told: Holders | None = None
        self._told_excluded = excluded
        self._told_causes: dict[int, str] = {}
        self._told_own: list[int] = []
        self._last: Holders | None = None
        """Who last held each partition when something was told."""

    def see(
        self,
        present: Sequence[Node],
        causes: Mapping[int, str],
        labels: Mapping[int, str],
        excluded: frozenset[int] = frozenset(),
    ) -> None:
        """The nodes that take part now, why others don't (by node id), how notes call nodes; excluded partitions."""
        self._excluded = excluded
        self._present = Holders.of(present, self.clients)
        self._own = sorted(node.partition for node in declaring(present) if node.own_data)
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
        self._told, self._told_own = self._present, list({*self._told_own, *self._own})
        self._told_causes |= fresh
        self._told_excluded = self._excluded
        self._last = self._present if self._last is None else self._last.then(self._present)
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

    def _at_the_start(self, present: Holders) -> list[str]:
        missing = [k for k in np.flatnonzero(~present.there).tolist() if k not in self._excluded]
        if not missing:
            return []
        return [
            f"{len(present)} of {self.clients} clients take part: no usable node is online for {partitions(missing)}"
        ]

    def _changes(self, before: Holders, now: Holders) -> list[str]:
        notes = []
        gone = [k for k in np.flatnonzero(before.there & ~now.there).tolist() if k not in self._excluded]
        if gone:
            notes.append(f"not online any more: {partitions(gone, 'client')}")
        last = self._last or before
        replaced = now.there & last.there & (now.ids != last.ids)
        for partition in np.flatnonzero(replaced).tolist():
            old, new = self._label(int(last.ids[partition])), self._label(int(now.ids[partition]))
            notes.append(f"partition {partition}: {new} takes the place of {old}")
        came = np.flatnonzero(now.there & ~before.there & ~replaced).tolist()
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
