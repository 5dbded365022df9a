"""An attacker's view without Flower and configuration: any model, any data, one or several colluders."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor, nn

from attacks.base import Attack, PoisonContext
from attacks.poisoning import poison_dataset
from attacks.view import AttackView, LocalModel
from fedcrucible_core.config.sections import AttackSection, TrainingSection
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.gradient import mean_gradient
from fedcrucible_core.learning.rng import torch_generator
from fedcrucible_core.learning.training import TrainingHook, train
from fedcrucible_core.learning.vector import (
    flatten_buffers,
    flatten_parameters,
    load_buffers,
    load_parameters,
    parameter_slots,
)
from tests.support.tiny_task import make_task

T = TypeVar("T")
Judge = Callable[[str, Tensor], Tensor | None]


@dataclass(frozen=True, kw_only=True)
class FakeView(AttackView):
    """Works with one model object; counts its trainings and simulations."""

    attack: Attack
    model: nn.Module
    data: Labeled
    judge: Judge = field(default=lambda rule, updates: torch.ones(len(updates), dtype=torch.bool))
    others: list[FakeView] = field(default_factory=list)
    """The other colluders; the first of all by partition leads."""
    calls: list[str] = field(default_factory=list)
    cache: dict[Hashable, object] = field(default_factory=dict)

    @property
    def clean(self) -> Labeled:
        return Labeled(self.data.for_model(), self.data.labels)

    @property
    def poisoned(self) -> Labeled:
        return self._poisoned(torch.arange(len(self.data)), self.section, torch_generator(1, "poison", self.partition))

    def with_poisoned_copies(self, rows: Tensor, purpose: str) -> Labeled:
        return self._poisoned(
            rows, self.section.model_copy(update={"poison_mode": "append-all"}), self.generator(purpose)
        )

    def _poisoned(self, rows: Tensor, section: AttackSection, rng: torch.Generator) -> Labeled:
        task = make_task(self.data, section.target_label)
        return Labeled(*poison_dataset(rows, self.attack, section, PoisonContext(task, self.part, rng)))

    def train(
        self,
        data: Labeled,
        *,
        start: LocalModel | None = None,
        settings: TrainingSection | None = None,
        hook: TrainingHook | None = None,
        purpose: str = "train",
    ) -> LocalModel:
        self.calls.append(purpose)
        self._load(start or LocalModel(self.w_global, self.buffers))
        rng = torch_generator(1, purpose, self.round, self.partition)
        result = train(self.model, data.inputs, data.labels, settings or self.training, rng, hook=hook)
        return LocalModel(flatten_parameters(self.model), flatten_buffers(self.model), result.loss)

    def clean_model(self) -> LocalModel:
        return self.once(("clean", self.partition), lambda: self.train(self.clean))

    def predict(self, model: LocalModel, images: Tensor) -> Tensor:
        self._load(model)
        self.model.eval()
        with torch.no_grad():
            return self.model(images).argmax(1)

    def gradient(self, data: Labeled) -> Tensor:
        self._load(LocalModel(self.w_global, self.buffers))
        return mean_gradient(self.model, data.inputs, data.labels, self.training.batch_size)

    def generator(self, purpose: str) -> torch.Generator:
        return torch_generator(1, purpose, self.round, self.partition)

    @property
    def colluders(self) -> Sequence[AttackView]:
        return sorted([self, *self.others], key=lambda view: view.partition)

    def simulate(self, rule: str, updates: Tensor) -> Tensor | None:
        self.calls.append(f"simulate {rule}")
        return self.judge(rule, updates)

    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        if key not in self.cache:
            self.cache[key] = compute()
        return self.cache[key]

    def _load(self, model: LocalModel) -> None:
        load_parameters(self.model, model.parameters)
        load_buffers(self.model, model.buffers)


def fake_view(
    attack: Attack,
    model: nn.Module,
    data: Labeled | Labeled,
    *,
    round: int = 1,
    partition: int = 0,
    participants: int = 10,
    section: AttackSection | None = None,
    training: TrainingSection | None = None,
    memory: dict[str, Tensor] | None = None,
    **more: object,
) -> FakeView:
    """A view whose global model is what ``model`` holds now; pixels are rounded to bytes, as data sets hold them."""
    if isinstance(data, Labeled):
        data = Labeled((data.inputs * 255).round().to(torch.uint8), data.labels)
    return FakeView(
        round=round,
        partition=partition,
        part=partition,
        participants=participants,
        slots=parameter_slots(model),
        section=section or AttackSection(name=attack.name),
        training=training or TrainingSection(batch_size=8),
        w_global=flatten_parameters(model),
        buffers=flatten_buffers(model),
        memory={} if memory is None else memory,
        attack=attack,
        model=model,
        data=data,
        **more,
    )
