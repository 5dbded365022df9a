"""What the round loop is given by the server app."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.foundation.base import GuideTargets, ServerData
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.models.base import SplitModel
from strategies.nodes import NodeDirectory
from strategies.outcome import Checkpoint, Measured, Observer, RoundOutcome
from strategies.server_phase import ServerPhase
from strategies.systems import Assembled


@dataclass
class Parts:
    """What the round loop is given; everything it needs and nothing it could fetch by itself."""

    config: RunConfigBase
    system: Assembled
    model: SplitModel
    """The server's working copy, on the server's device; its initial weights are the initial global model."""
    nodes: NodeDirectory
    malicious: frozenset[int]
    """Ground truth by seed; roles that nodes declare in deployment come on top."""
    max_examples: int
    info: DataInfo
    """Facts of the task, which clients are told too: their models and labels must agree with them."""
    evaluate: Callable[[SplitModel, RoundOutcome, bool], Measured]
    """Measures a model: of which round, and whether it is the run's final one."""
    server_phase: Callable[[], ServerPhase | None]
    """Builds the server's data and targets, once, before round 1."""
    server_data: Callable[[], ServerData]
    """The server's own images, for a repair that looks at them without any purifier in the run."""
    guide_targets: Callable[[ServerData], GuideTargets]
    """What the guide says of the server's images, for a repair that asks for it."""
    root_set: Callable[[], Labeled | None]
    """Draws the root set of a rule that needs one, once, before round 1."""
    observers: Sequence[Observer] = field(default_factory=tuple)
    attackers_remember: bool = False
    """Whether attackers keep something between rounds, which checkpoints must hold too."""
    resume_from: Checkpoint | None = None
