"""What a record says of every site and round: the lines of metrics.jsonl, with the diagnostics beside them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from defenses.kernels.geometry import squared_distances
from defenses.stored_updates import UpdateGeometry
from fedcrucible.failures import CommandError
from fedcrucible_core.records import files
from fedcrucible_core.records.diagnostics import read_diagnostics
from fedcrucible_core.records.reader import DamagedRecordError, RecordedRun, read
from fedcrucible_core.records.schema import RoundRecord

Numbers = Mapping[int, float]
"""One number per partition; a partition of which it isn't known is missing, or has NaN."""

AWAY, APART = "away", "apart"
MEANINGS = {
    "score": "the rule's own score",
    "norm": "length of its update",
    AWAY: "1 - cosine to the mean of the others' updates",
    APART: "median distance to the others' updates",
}
"""Numbers of a round that grow with suspicion, and what each is."""


@dataclass(frozen=True)
class RoundEvidence:
    """One training round."""

    record: RoundRecord
    geometry: Mapping[str, UpdateGeometry]
    """By prototype; empty where the run kept none."""

    @property
    def judged(self) -> list[int]:
        """Partitions whose replies the rule judged."""
        return [int(partition) for partition in self.record.weights if partition.isdigit()]

    def diagnostic(self, name: str) -> Numbers:
        """A number that the rule stated of each client; nothing where it stated none."""
        values = self.record.per_client.get(name, [])
        judged = self.judged
        return dict(zip(judged, values, strict=True)) if len(values) == len(judged) else {}

    @property
    def examples(self) -> Numbers:
        """Examples that each client claims to have trained on."""
        return self._each(lambda geometry: geometry.num_examples.tolist())

    @property
    def norms(self) -> Numbers:
        """Lengths of the updates: as the record keeps them, else as the rule stated them."""
        return self._each(lambda geometry: geometry.norms.tolist()) or self.diagnostic("norm")

    @property
    def cosines(self) -> Numbers:
        """Cosine of each update to the mean of the others' updates."""
        return self._each(_cosines_to_the_others)

    @property
    def signals(self) -> Mapping[str, Numbers]:
        """The numbers that grow with suspicion (``MEANINGS``), those that are known."""
        found = {
            "score": self.diagnostic("score"),
            "norm": self.norms,
            AWAY: {partition: 1.0 - cosine for partition, cosine in self.cosines.items()},
            APART: self._each(_distance_to_the_others),
        }
        return {name: numbers for name, numbers in found.items() if numbers}

    def verdict(self, partition: int) -> str:
        """What became of a partition in this round, in one word or a cause."""
        record, key = self.record, str(partition)
        if partition in record.excluded:
            return "excluded"
        if key in record.dropped:
            return f"dropped: {record.dropped[key]}"
        if partition not in record.participants:
            return "not sampled"
        if key not in record.weights:
            return "not judged"
        return "accepted" if record.weights[key] > 0 else "rejected"

    def _each(self, of: Callable[[UpdateGeometry], list[float]]) -> Numbers:
        return {
            int(partition): value
            for geometry in self.geometry.values()
            for partition, value in zip(geometry.ids.tolist(), of(geometry), strict=True)
        }


@dataclass(frozen=True)
class Evidence:
    """All that a record says of its sites."""

    run: RecordedRun
    rounds: tuple[RoundEvidence, ...]

    @property
    def sites(self) -> list[int]:
        """Partitions that ever took part, were to, or were excluded."""
        found: set[int] = set()
        for each in self.rounds:
            found |= {*each.record.participants, *each.record.excluded, *each.judged}
        return sorted(found)

    @property
    def kept(self) -> bool:
        """Whether any round's diagnostics were kept."""
        return any(each.geometry for each in self.rounds)

    def require_site(self, site: int) -> None:
        """Raise CommandError where the record knows no such site."""
        if site not in self.sites:
            known = ", ".join(map(str, self.sites[:40])) or "none"
            raise CommandError(f"site {site} is in no round of {self.run.folder}", f"sites of this record: {known}")


def gather(folder: Path) -> Evidence:
    """Read a record. Raises CommandError where there is none, or nothing that clients did; DamagedRecordError."""
    try:
        run = read(folder, arrays=False)
    except FileNotFoundError as error:
        raise CommandError(str(error), f"a record folder holds {files.RUN}") from None
    kept = read_diagnostics(run.folder / files.DIAGNOSTICS)
    rounds = [record for record in run.rounds if record.stage == "training" and record.round >= 1]
    if not any(record.participants for record in rounds):
        raise CommandError(f"no client took part in any round of {run.folder}", "there is nobody to judge")
    return Evidence(run, tuple(RoundEvidence(r, _geometry(run.folder, r.round, kept.get(r.round, {}))) for r in rounds))


def _geometry(
    folder: Path, round: int, found: Mapping[str, Mapping[str, torch.Tensor]]
) -> Mapping[str, UpdateGeometry]:
    try:
        return {prototype: UpdateGeometry.from_tensors(tensors) for prototype, tensors in found.items()}
    except ValueError as error:
        raise DamagedRecordError(f"{folder / files.DIAGNOSTICS}, round {round} is damaged: {error}") from error


def _cosines_to_the_others(geometry: UpdateGeometry) -> list[float]:
    """u_i to the sum of u_j, j != i; NaN for one client alone, 0 where a vector has no length."""
    inner, n = geometry.inner, len(geometry.ids)
    if n < 2:
        return [math.nan] * n
    own = inner.diagonal()
    to_others = inner.sum(1) - own
    length = (inner.sum() - 2 * inner.sum(1) + own).clamp(min=0.0).sqrt() * own.clamp(min=0.0).sqrt()
    found = torch.where(length > 0, to_others / length.clamp(min=1e-300), torch.zeros_like(own))
    return found.clamp(-1.0, 1.0).tolist()


def _distance_to_the_others(geometry: UpdateGeometry) -> list[float]:
    n = len(geometry.ids)
    if n < 2:
        return [math.nan] * n
    distances = squared_distances(geometry.centred_inner, pairwise=True).sqrt()
    others = distances[~torch.eye(n, dtype=torch.bool)].view(n, n - 1)
    return others.quantile(0.5, dim=1).tolist()


def known(numbers: Numbers) -> Iterator[tuple[int, float]]:
    """Those that are finite."""
    return ((partition, value) for partition, value in numbers.items() if math.isfinite(value))


def rank(numbers: Numbers, partition: int) -> tuple[int, int] | None:
    """(place, of how many), 1 = the largest, of equal ones the best place; None where the number isn't known."""
    values = dict(known(numbers))
    if partition not in values:
        return None
    return 1 + sum(value > values[partition] for value in values.values()), len(values)
