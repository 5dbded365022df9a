"""What one round came to; observers record it, print it or keep a checkpoint of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

from torch import Tensor

from defenses.base import Split, Splitter
from defenses.stored_updates import UpdateGeometry
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.evaluation import AttackMetrics, CleanMetrics
from strategies.population import Population, Prototype, State
from strategies.progress import Progress


@dataclass(frozen=True)
class Measured:
    """The global model on the evaluation split."""

    clean: CleanMetrics
    attack: AttackMetrics | None
    facts: dict[str, float] = field(default_factory=dict)
    """Further numbers for the record."""
    notes: tuple[str, ...] = ()
    """What a reader of the numbers must know, e.g. that they are a vote's."""


@dataclass(frozen=True)
class JudgedSet:
    """A suspicious set and what a splitter made of it, for the record."""

    splitter: Splitter
    data: Labeled
    """The set, labels as given."""
    found: Split
    poisoned: Tensor | None
    """The truth, bool ``[n]``; None = nobody can say."""
    published: bool
    """Whether its rows (``Labeled.rows``) are those of the run's data set."""


@dataclass
class RoundOutcome:
    """One round, filled in phase by phase; round 0 is the state before any training."""

    round: int
    stage: Literal["training", "repair"] = "training"
    """repair: what follows the last round, numbered one higher; the clients were asked, nobody trained."""
    participants: list[int] = field(default_factory=list)
    excluded: list[int] = field(default_factory=list)
    """Partitions that were left out of the round (``federation.excluded``), whoever they are."""
    valid: list[int] = field(default_factory=list)
    malicious: list[int] = field(default_factory=list)
    """Ground truth among the participants, for detection figures only."""
    rested: list[int] = field(default_factory=list)
    """Those of them whose attack found nothing to do, as they say: what they uploaded is honest work."""
    weights: dict[int, float] = field(default_factory=dict)
    """Weight (fraction) of each valid reply; 0 = rejected by the rule."""
    dropped: dict[int, str] = field(default_factory=dict)
    """Partition to the cause for which its reply never reached the rule."""
    absent: list[int] = field(default_factory=list)
    """Clients without a usable node when the round's participants were drawn."""
    quorum_missed: str = ""
    """Why fewer replied than are required, with the sites that were lost; empty where all is well."""
    per_client: dict[str, list[float]] = field(default_factory=dict)
    facts: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    bytes_down: int = 0
    bytes_up: int = 0
    measured: Measured | None = None
    client_metrics: dict[int, dict[str, float]] = field(default_factory=dict)
    """What clients measured on test data of their own, by partition: rates in percent and ``examples``."""
    evaluations_dropped: dict[int, str] = field(default_factory=dict)
    """Partition to the cause for which its answer to the evaluate message counts for nothing."""
    evaluations_absent: list[int] = field(default_factory=list)
    """Clients without a usable node when those who measure were drawn."""
    geometry: dict[Prototype, UpdateGeometry] = field(default_factory=dict)
    """How each prototype's updates lie to each other, where ``output.diagnostics`` asks for it."""
    split: JudgedSet | None = None
    """What was split for the repair, until it is recorded."""
    restarted: bool = False
    """Training started over from the initial model: nothing more happens to it this round."""
    model: Literal["changed", "kept", "initial"] = "initial"
    """The global model after the round: changed by it, as it was before, or the initial one, bit for bit."""
    population: Population = field(default_factory=dict)
    """The models after the round, for observers: theirs to read, nobody's to change."""
    nodes: dict[int, NodeIdentity] = field(default_factory=dict)
    """Which node each participant is, where nodes are real machines."""
    progress: Progress = field(default_factory=Progress, repr=False, compare=False)
    """Told which phase begins."""


@dataclass(frozen=True)
class NodeIdentity:
    """A node as an operator knows it."""

    node_id: int
    name: str
    """Under which it was registered, as plain text; empty for none."""
    key: str
    """``SHA256:...`` fingerprint of its public key; empty where it has none."""


@dataclass(frozen=True)
class Checkpoint:
    """All that a continued run needs: the population after ``round`` and what everybody remembers."""

    round: int
    population: Population
    states: dict[str, State]
    """Of the rule and the purifier of each prototype, and of attackers (see ``attack_memory``)."""


class Observer(Protocol):
    """Something that is told how a run goes on."""

    def on_round(self, outcome: RoundOutcome) -> None:
        """Called after every round, and once for round 0."""

    def on_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Called after every k-th round when checkpoints are asked for."""

    def on_note(self, text: str) -> None:
        """Called with what belongs to the run as a whole, not to a round."""
