"""Ensemble distillation: the clients' models teach every prototype on the server's synthetic data."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from defenses.kernels.distillation import distillation_loss
from defenses.sanitizing import SyntheticSet
from defenses.support.server_training import FORWARD_BATCH
from fedcrucible_core.config.plain_text import plain_text
from fedcrucible_core.learning.evaluation import logits
from fedcrucible_core.learning.rng import torch_generator
from fedcrucible_core.learning.weights import Weights
from strategies.outcome import RoundOutcome
from strategies.parts import Parts
from strategies.population import Prototype, fact_name, owner_of
from strategies.synthetic_fit import Settings, fit_to


def ensemble_logits(
    parts: Parts, teachers: Sequence[tuple[Prototype, Weights]], data: SyntheticSet, outcome: RoundOutcome
) -> dict[Prototype, tuple[Tensor, int]]:
    """Sum of the logits ``[m, C]`` of the teachers of each architecture, and how many they are.

    Logits are averaged before the softmax, in eval mode.  A teacher that isn't finite on every sample is left out and
    counted: it would be the mean.
    """
    sums: dict[Prototype, tuple[Tensor, int]] = {}
    left_out = 0
    for prototype, weights in teachers:
        model = parts.models[prototype]
        weights.load_into(model)
        device = next(model.parameters()).device
        said = logits(model, data.data.inputs, FORWARD_BATCH, device).to(device)
        if not bool(torch.isfinite(said).all()):
            left_out += 1
            continue
        total, count = sums.get(prototype, (torch.zeros_like(said), 0))
        sums[prototype] = total + said, count + 1
    outcome.facts["distillation.teachers"] = float(len(teachers) - left_out)
    if left_out:
        outcome.facts["distillation.teachers_not_finite"] = float(left_out)
    return sums


def mean_logits(sums: dict[Prototype, tuple[Tensor, int]], of: Prototype | None = None) -> Tensor | None:
    """The ensemble's mean logits ``[m, C]``: of all architectures, or of one; None where nobody teaches."""
    chosen = [pair for prototype, pair in sums.items() if of in (None, prototype)]
    if not chosen:
        return None
    return torch.stack([total for total, _ in chosen]).sum(0) / sum(count for _, count in chosen)


def distilled(
    parts: Parts,
    prototype: Prototype,
    student: Weights,
    teacher: Tensor,
    data: SyntheticSet,
    outcome: RoundOutcome,
) -> Weights:
    """The student after ``fm_fl.kd_epochs`` epochs of Eq. 1; one that diverges is kept as it was, with a note."""
    config, model = parts.config, parts.models[prototype]
    section = config.fm_fl
    settings = Settings.of(section, section.kd_lr, section.kd_epochs, config.run.precision)
    student.load_into(model)

    def loss(said: Tensor, labels: Tensor, rows: Tensor) -> Tensor:
        return distillation_loss(said, teacher[rows], labels, section.alpha, section.temperature)

    rng = torch_generator(config.run.seed, owner_of("distil", prototype), outcome.round)
    value = fit_to(model, data, loss, settings, rng)
    trained = Weights.of(model)
    if not trained.finite:
        outcome.notes.append(plain_text(f"distillation of {prototype} diverged: its aggregate was kept"))
        return student
    outcome.facts[fact_name("distillation.loss", prototype)] = value
    return trained
