"""What a strategy is given by the server app."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from defenses.base import Suspects
from defenses.sanitizing import SyntheticSet
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.foundation.base import GuideTargets, ServerData, Stage
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.models.base import SplitModel
from fedcrucible_core.learning.weights import Weights
from strategies.nodes import NodeDirectory
from strategies.outcome import Checkpoint, JudgedSet, Measured, Observer, RoundOutcome
from strategies.population import SOLE, Population, Prototype
from strategies.progress import Progress
from strategies.server_phase import ServerPhase
from strategies.systems import Assembled


@dataclass(frozen=True)
class RepairInputs:
    """What a repair is given beside the model, made once: the parts that it doesn't ask for are None."""

    suspects: Suspects | None = None
    clean: Labeled | None = None
    untrained: Callable[[int], SplitModel] | None = None
    """A fresh model of the prototype's architecture from a seed."""
    facts: dict[str, float] = field(default_factory=dict)
    """For the record: what came of the split, and how far that is true."""
    notes: tuple[str, ...] = ()
    """What a reader of the split must know."""
    judged: JudgedSet | None = None
    """For the record: the split itself, where one was made."""


@dataclass
class Parts:
    """Everything a strategy needs and nothing it could fetch by itself."""

    config: RunConfigBase
    system: Assembled
    models: Mapping[Prototype, SplitModel]
    """The server's working copy of each prototype, on the server's device; its weights are the initial ones."""
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
    synthetic: Callable[[Stage], SyntheticSet]
    """The server's synthetic data for a stage, sanitized, on its device; made once."""
    central_set: Callable[[], Labeled]
    """What central training trains on, for models, on the server's device; a poisoner may have been at it before."""
    central_facts: Callable[[], dict[str, float]]
    """What the record says of that set: how many samples, and the truth about who was at them."""
    repair_inputs: Callable[[Prototype], RepairInputs]
    """What the repair of a prototype's model is given."""
    planted: Mapping[str, float] = field(default_factory=dict)
    """What the record says of honest clients whose data came to them poisoned."""
    observers: Sequence[Observer] = field(default_factory=tuple)
    attackers_remember: bool = False
    """Whether attackers keep something between rounds, which checkpoints must hold too."""
    resume_from: Checkpoint | None = None
    progress: Progress = field(default_factory=Progress)
    """Told how far a round is while it runs."""

    @property
    def model(self) -> SplitModel:
        """The working copy that rates and reports are about: the first prototype's."""
        return next(iter(self.models.values()))

    def of(self, prototype: Prototype) -> Parts:
        """The same, as if this prototype were the only one."""
        return self if len(self.models) == 1 else replace(self, models={SOLE: self.models[prototype]})

    def initial(self) -> Population:
        """The weights that the working copies hold now."""
        return {prototype: Weights.of(model) for prototype, model in self.models.items()}
