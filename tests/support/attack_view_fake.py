"""An attacker's view of any model and any data, for tests of single upload attacks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from attacks.local_view import Judge, LocalView
from attacks.poisoner import POISONERS, Poisoner
from fedcrucible_core.config.sections import AdversarySection, PoisonSection, TrainingSection
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.vector import parameter_slots
from fedcrucible_core.learning.weights import Weights
from tests.support.tiny_task import make_task

__all__ = ["Judge", "LocalView", "fake_view"]


def fake_view(
    model: nn.Module,
    data: Labeled,
    *,
    round: int = 1,
    partition: int = 0,
    participants: int = 10,
    poisoner: Poisoner | None = None,
    poison: PoisonSection | None = None,
    adversary: AdversarySection | None = None,
    training: TrainingSection | None = None,
    memory: dict[str, Tensor] | None = None,
    **more: object,
) -> LocalView:
    """A view whose global model is what ``model`` holds now; pixels are rounded to bytes, as data sets hold them."""
    if data.inputs.is_floating_point():
        data = Labeled((data.inputs * 255).round().to(torch.uint8), data.labels)
    poison = poison or PoisonSection()
    return LocalView(
        round=round,
        partition=partition,
        part=partition,
        participants=participants,
        slots=parameter_slots(model),
        target=poison.target_label,
        poisoner=poisoner or POISONERS.create("badnets"),
        adversary=adversary or AdversarySection(),
        poison=poison,
        training=training or TrainingSection(batch_size=8),
        received=Weights.of(model),
        memory={} if memory is None else memory,
        model=model,
        task=make_task(data, poison.target_label),
        **more,
    )
