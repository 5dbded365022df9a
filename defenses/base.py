"""The contracts of defences: rules act on updates, purifiers and repairs on models, splitters on labelled data."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from defenses.needs import CleanNeeds as CleanNeeds
from defenses.needs import FreshModels as FreshModels
from defenses.needs import Needs as Needs
from defenses.updates import ClientUpdates as ClientUpdates
from defenses.updates import State as State
from fedcrucible_core.config import Component, ConfigError, Registry
from fedcrucible_core.config.sections import TrainingSection
from fedcrucible_core.foundation.base import GuideTargets, ServerData
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.models.base import SplitModel


@dataclass(frozen=True)
class Aggregate:
    """Result of a rule: ``delta [d]`` is added to the global model; ``weights[i] = 0`` means client i was rejected."""

    delta: Tensor
    weights: Tensor
    """float64 ``[n]``, non-negative, sums to 1 unless nobody was accepted."""
    per_client: dict[str, list[float]] = field(default_factory=dict)
    """Diagnostics, one number per client in input order (scores, norms, ...)."""
    facts: dict[str, float] = field(default_factory=dict)
    """Diagnostics of the round (threshold, number of clusters, ...)."""
    state: State = field(default_factory=dict)
    restart: bool = False
    """Training starts over from the run's initial model in place of w_t + delta (for rules that remove clients)."""


class AggregationRule(Component):
    """A robust aggregation rule: ``rule.aggregate(updates) -> Aggregate``, or ``rule(U)`` on a bare matrix.

    Rules mutate none of their inputs; what they remember travels in ``updates.state`` and ``Aggregate.state``.
    """

    min_clients: ClassVar[int] = 1
    """Fewer updates than this can't be judged; the round loop says so and keeps the model."""

    @abstractmethod
    def aggregate(self, updates: ClientUpdates) -> Aggregate:
        """Aggregate one round."""

    @property
    def needs(self) -> Needs:
        """What it asks for beside the updates: a root set, another local training, a smoothed measurement."""
        return Needs()

    @property
    def starts_over(self) -> bool:
        """Whether it may ask for the run's initial model (``Aggregate.restart``)."""
        return False

    @property
    def privacy(self) -> str:
        """Its claim of differential privacy, in words for the record; empty where it makes none.

        A rule that states an epsilon says so by the facts ``epsilon``, ``delta`` and ``releases`` of every round.
        """
        return ""

    def check(self, clients: int, malicious: int) -> None:
        """Raise ConfigError when the rule can't serve ``clients`` participants with ``malicious`` attackers."""
        if clients < self.min_clients:
            raise ConfigError(
                "defense.name", self.name, f"needs at least {self.min_clients} clients a round, there are {clients}"
            )

    def __call__(self, matrix: Tensor, num_examples: Tensor | None = None) -> Aggregate:
        """Aggregate a bare matrix ``[n, d]``: global model zero, equal examples, fresh state."""
        return self.aggregate(ClientUpdates.bare(matrix, num_examples))


@dataclass(frozen=True)
class Purified:
    """Result of a purifier; the model was changed in place."""

    facts: dict[str, float] = field(default_factory=dict)
    """Diagnostics of the round: losses per phase, seconds excluded."""
    state: State = field(default_factory=dict)


class Purifier(Component):
    """Works on the aggregated model with the server's own data; never sees a client's data."""

    @property
    def needs(self) -> Needs:
        """What it asks for beside the server's data: the guide."""
        return Needs()

    def check(self, model: SplitModel, guide: GuideTargets | None) -> None:
        """Raise ConfigError when this model and guide can't be worked on; called before any client trains."""

    @abstractmethod
    def purify(
        self,
        model: SplitModel,
        data: ServerData,
        guide: GuideTargets | None,
        rng: torch.Generator,
        state: State,
    ) -> Purified:
        """Purify ``model`` in place (it lies on its device; ``data`` and ``guide`` on the CPU)."""


@dataclass(frozen=True)
class Split:
    """A labelled set in three parts: row numbers int64, ascending, each row of the set in exactly one of them."""

    clean: Tensor
    """Rows whose label is trusted."""
    triggered: Tensor
    """Rows that look poisoned."""
    mixed: Tensor
    """Rows that are neither (undecided)."""
    scores: dict[str, Tensor] = field(default_factory=dict)
    """Numbers of every row, float ``[n]`` each: what the split was made by."""
    facts: dict[str, float] = field(default_factory=dict)
    """Diagnostics (thresholds, ...)."""
    logits: Tensor | None = None
    """Scores ``[n, C]`` of every class, by which rows are relabelled; None = the guide's logits."""

    @classmethod
    def by(
        cls, clean: Tensor, triggered: Tensor, scores: dict[str, Tensor] | None = None,
        facts: dict[str, float] | None = None,
    ) -> Split:  # fmt: skip
        """From masks bool ``[n]``: rows in neither are mixed. Raises ValueError when a row is in both."""
        if bool((clean & triggered).any()):
            raise ValueError("a row can't be clean and triggered at once")
        mixed = ~(clean | triggered)
        return cls(_rows(clean), _rows(triggered), _rows(mixed), scores or {}, facts or {})


def _rows(mask: Tensor) -> Tensor:
    return mask.nonzero().flatten().cpu()


@dataclass(frozen=True)
class Suspects:
    """The labelled samples that a model was trained on, some of them perhaps poisoned.

    In a central run its training set, in a federation the server's own labelled samples, before any sanitizer.
    """

    data: Labeled
    """Inputs as a model takes them with the labels as given, on the model's device."""
    split: Split | None = None
    """What the splitter makes of them: row numbers on the CPU; None where the repair doesn't ask (``Needs.split``)."""
    guide: GuideTargets | None = None
    """What the guide says of each of them, on the CPU; None where the repair doesn't ask (``Needs.guide``)."""


@dataclass(frozen=True)
class RepairContext:
    """What a repair may use; a part that it didn't ask for (``needs``) is None."""

    info: DataInfo
    """Facts of the task: classes, input shape (C, H, W), normalisation."""
    rng: torch.Generator
    """For any noise or draw; on the CPU."""
    device: torch.device
    """Where the model lies."""
    answers: Tensor | None = None
    """Clients' answers to the survey, int64 ``[m, channels]``, m >= 1, in partition order."""
    data: ServerData | None = None
    """The server's synthetic images."""
    accuracy: Callable[[], float] | None = None
    """Measures the model, as it stands, on those images: accuracy in percent."""
    guide: GuideTargets | None = None
    """The guide's targets for ``data.training_set()``; None where the repair works on suspects: theirs are there."""
    suspects: Suspects | None = None
    """What the model was trained on (``Needs.suspects``)."""
    clean: Labeled | None = None
    """Samples with true labels (``Needs.clean``), inputs as a model takes them, on the model's device."""
    untrained: Callable[[int], SplitModel] | None = None
    """A fresh model of the run's architecture from a seed, on the model's device."""
    training: TrainingSection = field(default_factory=TrainingSection)
    """How the run trains: augmentation, batch size, optimiser."""

    def require_suspects(self) -> Suspects:
        """The suspects. Raises ValueError where there are none."""
        if self.suspects is None:
            raise ValueError("the repair works on what the model was trained on, and that isn't given")
        return self.suspects

    def require_split(self) -> tuple[Labeled, Split]:
        """The suspects and their split. Raises ValueError where there is none."""
        suspects = self.require_suspects()
        if suspects.split is None:
            raise ValueError("the repair works on a split of what the model was trained on, and there is none")
        return suspects.data, suspects.split

    def require_clean(self) -> Labeled:
        """The samples with true labels. Raises ValueError where there are none."""
        if self.clean is None:
            raise ValueError("the repair works with samples of true labels, and there are none")
        return self.clean

    def require_untrained(self) -> Callable[[int], SplitModel]:
        """What makes fresh models. Raises ValueError where nothing does."""
        if self.untrained is None:
            raise ValueError("the repair trains a fresh model, and nothing makes one")
        return self.untrained

    def require_answers(self) -> Tensor:
        """The answers. Raises ValueError where no survey was asked."""
        if self.answers is None:
            raise ValueError("the repair works on clients' answers, and there are none")
        return self.answers


class Repair(Component):
    """Works on the final model, once, after the last round, whatever rule and purifier came before it."""

    from_scratch: ClassVar[bool] = False
    """True: nothing of the model is kept; a fresh one (``context.untrained``) is trained and its weights loaded."""

    @property
    def needs(self) -> Needs:
        """What it asks for: a survey of the clients, the server's images, the guide, what the model was trained on."""
        return Needs()

    def check(self, model: SplitModel, info: DataInfo) -> None:
        """Raise ConfigError (or ValueError, which is told as one) when this model can't be repaired.

        Called before any client starts, with an untrained model. Here: that the survey's question fits the model.
        """
        if self.needs.survey is not None:
            self.needs.survey(model, info)

    @abstractmethod
    def repair(self, model: SplitModel, context: RepairContext) -> dict[str, float]:
        """Work on ``model`` in place; returns diagnostics, which the record shows as ``repair.<name>``.

        Raises ValueError or FloatingPointError when it can't; the model is kept then, and the record says why.
        """


class Splitter(Component):
    """Parts a labelled set into clean, triggered and undecided rows, without changing any of them."""

    dropped_fact: ClassVar[str] = "dropped_by_splitter"
    """Name under which the record counts the server's images that aren't clean."""

    @property
    def needs(self) -> Needs:
        """What it asks for beside the set: the guide, models trained for it."""
        return Needs()

    @property
    def thresholds(self) -> Mapping[str, tuple[float, ...]]:
        """Score -> percentile ranks at which a part ends, for the map of a split; empty where ranks settle nothing."""
        return {}

    def check(self, info: DataInfo) -> None:
        """Raise ConfigError where its settings don't fit each other or the data; called before anything is trained."""

    @abstractmethod
    def split(
        self,
        data: Labeled,
        guide: GuideTargets | None,
        model: nn.Module | None,
        rng: torch.Generator,
    ) -> Split:
        """Split n >= 1 samples whose inputs are as a model takes them (images float32 in [0, 1], token ids int64).

        ``guide`` is what the guide says of these samples; ``model`` maps inputs ``[b, ...]`` to the mean logits
        ``[b, C]`` of the models that were trained for it (``needs.fresh``); None where it doesn't need them.
        """


RULES: Registry[AggregationRule] = Registry("defense", "defenses.rules")
PURIFIERS: Registry[Purifier] = Registry("purifier", "defenses.purifiers")
REPAIRS: Registry[Repair] = Registry("repair", "defenses.repairs")
SPLITTERS: Registry[Splitter] = Registry("splitter", "defenses.splitters")
