"""An attacker's view without Flower and configuration: any model, any data, one or several colluders."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from attacks.artefact import EMPTY, Artefact
from attacks.poisoner import PoisonContext
from attacks.task import AttackTask
from attacks.view import AttackView
from fedcrucible_core.config.sections import PoisonSection, TrainingSection
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.gradient import mean_gradient
from fedcrucible_core.learning.rng import torch_generator
from fedcrucible_core.learning.training import TrainingHook, train
from fedcrucible_core.learning.weights import Trained, Weights

T = TypeVar("T")
Judge = Callable[[str, Tensor], Tensor | None]
"""Name of a rule and updates ``[k, d]``: which of them it accepts, bool ``[k]``; None = it can't judge."""


def accepts_all(rule: str, updates: Tensor) -> Tensor:  # noqa: ARG001
    """A server that accepts every update."""
    return torch.ones(len(updates), dtype=torch.bool)


@dataclass(frozen=True, kw_only=True)
class LocalView(AttackView):
    """A round of one attacker in this process; for checks and experiments with a single upload attack."""

    model: nn.Module
    """The working model; what it held when the view was made counts as received."""
    task: AttackTask
    """Its training set is the attacker's own data."""
    poison: PoisonSection
    artefact: Artefact = EMPTY
    """What the poisoner prepared for the task."""
    seed: int = 1
    judge: Judge = accepts_all
    others: list[LocalView] = field(default_factory=list)
    """The other colluders; the first of all by partition leads."""
    calls: list[str] = field(default_factory=list)
    """What was trained and simulated, in order."""
    cache: dict[Hashable, object] = field(default_factory=dict)

    @property
    def clean(self) -> Labeled:
        """The attacker's own data."""
        return Labeled(self.task.train.for_model(), self.task.train.labels)

    @property
    def poisoned(self) -> Labeled:
        """The same, poisoned."""
        rng = torch_generator(self.seed, "poison", self.partition)  # the same in every round
        return self.poisoner.poison(self.task.train, self._context(rng)).data

    def with_poisoned_copies(self, rows: Tensor, purpose: str) -> Labeled:
        """Own samples, poisoned copies of those that may be poisoned, and what is added."""
        section = self.poison.model_copy(update={"mode": "append-all", "smoke": 0.0})
        context = replace(self._context(self.generator(purpose)), section=section)
        return self.poisoner.poison(self.task.train.subset(rows), context).data

    def triggered(self, data: Labeled) -> Tensor:
        """Inputs with the whole trigger."""
        return self.poisoner.stamp(
            data.inputs, data.labels, replace(self._context(self.generator("triggered")), part=None)
        )

    def _context(self, rng: torch.Generator) -> PoisonContext:
        return PoisonContext(self.task, self.poison, rng, self.artefact, self.part)

    def train(
        self,
        data: Labeled,
        *,
        start: Weights | None = None,
        settings: TrainingSection | None = None,
        hook: TrainingHook | None = None,
        purpose: str = "train",
    ) -> Trained:
        """Local training by the one loop."""
        self.calls.append(purpose)
        (start or self.received).load_into(self.model)
        rng = self.generator(purpose)
        loss = train(self.model, data.inputs, data.labels, settings or self.training, rng, hook=hook)
        return Trained(Weights.of(self.model), loss)

    def clean_model(self) -> Trained:
        """Honest work, once."""
        return self.once(("clean", self.partition), lambda: self.train(self.clean))

    def predict(self, model: Weights, images: Tensor) -> Tensor:
        """Predicted classes."""
        model.load_into(self.model)
        self.model.eval()
        with torch.no_grad():
            predicted: Tensor = self.model(images).argmax(1)
        return predicted

    def gradient(self, data: Labeled) -> Tensor:
        """Mean gradient of the received model."""
        self.received.load_into(self.model)
        return mean_gradient(self.model, data.inputs, data.labels, self.training.batch_size)

    def generator(self, purpose: str) -> torch.Generator:
        """A generator of this purpose, round and partition."""
        return torch_generator(self.seed, purpose, self.round, self.partition)

    @property
    def colluders(self) -> Sequence[AttackView]:
        """This attacker and ``others``."""
        return sorted([self, *self.others], key=lambda view: view.partition)

    def simulate(self, rule: str, updates: Tensor) -> Tensor | None:
        """As ``judge`` says."""
        self.calls.append(f"simulate {rule}")
        return self.judge(rule, updates)

    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        """Remembered by this view (and those that share its ``cache``)."""
        if key not in self.cache:
            self.cache[key] = compute()
        return self.cache[key]  # type: ignore[return-value]
