"""The attacker's view of a round, on top of a client's session."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import torch
from flwr.app import RecordDict
from torch import Tensor

from attacks.poisoner import Poisoner
from attacks.preparation import measured_context
from attacks.schedule import malicious_partitions
from attacks.view import AttackView
from client_app import benign
from client_app.collusion import colluding_partitions
from client_app.local_data import (
    attack_task,
    attacker_context,
    clean_data,
    data_info,
    local_rows,
    poisoned_data,
    poisoned_rows,
)
from client_app.memory import read_memory
from client_app.roles import attacker_number
from client_app.round_cache import ROUND_CACHE
from client_app.session import Session
from fedcrucible_core.config.sections import TrainingSection
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.evaluation import predict
from fedcrucible_core.learning.gradient import mean_gradient
from fedcrucible_core.learning.rng import torch_generator
from fedcrucible_core.learning.tasks import task_of
from fedcrucible_core.learning.training import TrainingHook, train
from fedcrucible_core.learning.vector import parameter_slots
from fedcrucible_core.learning.weights import Trained, Weights

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Attacker(AttackView):
    """One attacker, working with its client's model and data."""

    session: Session

    @classmethod
    def of(cls, session: Session, poisoner: Poisoner) -> Attacker:
        """The view of a session's own client."""
        return cls(
            round=session.round,
            partition=session.partition,
            part=attacker_number(session.config, session.partition),
            participants=session.participants,
            slots=parameter_slots(session.model),
            target=session.config.poison.target_label,
            poisoner=poisoner,
            adversary=session.config.adversary,
            training=session.config.training,
            received=session.received,
            memory=read_memory(session.state),
            session=session,
        )

    @property
    def clean(self) -> Labeled:
        """The attacker's own images."""
        return clean_data(self.session.config, self.partition, self.session.device, self.session.own)

    @property
    def poisoned(self) -> Labeled:
        """The same, poisoned; equal in every round."""
        session = self.session
        return poisoned_data(session.config, self.poisoner, self.partition, self.part, session.device, session.own)

    def with_poisoned_copies(self, rows: Tensor, purpose: str) -> Labeled:
        """Some of the own images, a poisoned copy of each that may be poisoned, and what the attack adds."""
        config = self.session.config
        mine = local_rows(config, self.partition, self.session.own)[rows]
        context = attacker_context(config, self.poisoner, self.part, self.generator(purpose), self.session.own)
        section = config.poison.model_copy(update={"mode": "append-all", "smoke": 0.0})
        return poisoned_rows(self.poisoner, mine, replace(context, section=section))

    def triggered(self, data: Labeled) -> Tensor:
        """Stamped as the server stamps its test images."""
        task = attack_task(self.session.config, self.session.own)
        context = measured_context(self.session.config, self.poisoner, task)
        return self.poisoner.stamp(data.inputs, data.labels, context)

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
        return self.session.fit(data, purpose, partial(train, hook=hook), start=start, settings=settings)

    def clean_model(self) -> Trained:
        """The honest client's own work, with its seeds."""

        def honest() -> Trained:
            update = benign.update(self.session)
            return Trained(update.weights, update.loss)

        return self.once(("clean-model", self.partition), honest)

    def predict(self, model: Weights, images: Tensor) -> Tensor:
        """Predicted classes."""
        self.session.load(model)
        return predict(self.session.model, images, self.session.config.run.eval_batch_size, self.session.device)

    def gradient(self, data: Labeled) -> Tensor:
        """Mean gradient of the received model."""
        self.session.load(self.session.received)
        images, labels = data.inputs.to(self.session.device), data.labels.to(self.session.device)
        return mean_gradient(self.session.model, images, labels, self.training.batch_size)

    def generator(self, purpose: str) -> torch.Generator:
        """A generator of this round and partition."""
        return torch_generator(self.session.config.run.seed, purpose, self.round, self.partition)

    @property
    def colluders(self) -> tuple[AttackView, ...]:
        """Views of the group's members of this round; they compute what each member itself would."""
        return tuple(self._member(partition) for partition in colluding_partitions(self.session))

    def _member(self, partition: int) -> Attacker:
        if partition == self.partition:
            return self
        return Attacker.of(replace(self.session, partition=partition, state=RecordDict()), self.poisoner)

    def simulate(self, rule: str, updates: Tensor) -> Tensor | None:
        """What the run's rule, or another, would accept."""
        from strategies.rule_simulation import accepted_updates  # all rules: most clients never simulate one

        config = self.session.config
        self.session.load(self.session.received)
        return accepted_updates(
            config,
            rule,
            self.w_global,
            updates,
            round=self.round,
            participants=self.participants,
            malicious=len(malicious_partitions(config)),
            scratch=self.session.model,
            task=task_of(data_info(config, self.session.own)),
        )

    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        """Remembered for this process and round."""
        return ROUND_CACHE.once(self.session, key, compute)
