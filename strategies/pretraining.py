"""Pre-training of the prototypes on the server's synthetic data, kept on disk by content."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch
from torch import Tensor

from defenses.kernels.distillation import NO_LABEL, label_loss
from defenses.sanitizing import SyntheticSet
from fedcrucible_core.config.places import cache_folder
from fedcrucible_core.config.plain_text import plain_text
from fedcrucible_core.foundation.cache import arithmetic, digest, one_at_a_time, read_tensors, usable, write_tensors
from fedcrucible_core.learning.models.base import SplitModel
from fedcrucible_core.learning.rng import torch_generator
from fedcrucible_core.learning.weights import Weights
from strategies.outcome import RoundOutcome
from strategies.parts import Parts
from strategies.population import Population, Prototype, fact_name, owner_of
from strategies.synthetic_fit import Settings, fit_to

VERSION = "1"
"""Part of every key; raised when the same settings train another model."""


def pretrained(parts: Parts, population: Population, data: SyntheticSet, outcome: RoundOutcome) -> Population:
    """Every prototype after its pre-training: from the cache, or trained now and kept there.

    The key covers the weights it starts from, the data, the settings, the draws and all that last bits depend on; two
    processes that want the same wait for each other, so that a sweep trains each distinct one once.  How many were
    computed and how many were found is told in ``outcome``.
    """
    counts = {"pretrained.computed": 0.0, "pretrained.cached": 0.0}

    def one(prototype: Prototype, weights: Weights) -> Weights:
        trained, found = _one(parts, prototype, weights, data, outcome)
        counts["pretrained.cached" if found else "pretrained.computed"] += 1.0
        return trained

    trained = {prototype: one(prototype, weights) for prototype, weights in population.items()}
    outcome.facts |= counts
    return trained


def _one(
    parts: Parts, prototype: Prototype, weights: Weights, data: SyntheticSet, outcome: RoundOutcome
) -> tuple[Weights, bool]:
    """The weights, and whether they were found."""
    config, model = parts.config, parts.models[prototype]
    section, seed = config.fm_fl, config.run.seed
    settings = Settings.of(section, section.pretrain_lr, section.pretrain_epochs, config.run.precision)
    labelled = with_labels(data)
    owner = owner_of("pretrain", prototype)
    path = _path(Path(cache_folder(config.guide.cache_dir)), weights, labelled, settings, f"{seed} {owner}", model)
    with one_at_a_time(path):
        kept = _read(path, weights)
        if kept is not None:
            trained, value = kept
            outcome.facts[fact_name("pretrained.loss", prototype)] = value
            return trained, True
        weights.load_into(model)

        def loss(logits: Tensor, labels: Tensor, _rows: Tensor) -> Tensor:
            return label_loss(logits, labels)

        value = fit_to(model, labelled, loss, settings, torch_generator(seed, owner))
        trained = Weights.of(model)
        if not trained.finite:
            text = f"pre-training of {prototype} diverged: it begins untrained; lower fm_fl.pretrain_lr"
            outcome.notes.append(plain_text(text))
            return weights, False
        outcome.facts[fact_name("pretrained.loss", prototype)] = value
        last_loss = torch.tensor(value, dtype=torch.float64)
        write_tensors(path, {"parameters": trained.parameters, "buffers": trained.buffers, "loss": last_loss})
    return trained, False


def with_labels(data: SyntheticSet) -> SyntheticSet:
    """Those samples that have a label."""
    rows = (data.data.labels != NO_LABEL).nonzero().flatten()
    return data if len(rows) == len(data) else SyntheticSet(data.data.subset(rows), data.unlearned[rows])


def _path(
    folder: Path, weights: Weights, data: SyntheticSet, settings: Settings, draws: str, model: SplitModel
) -> Path:
    device = next(model.parameters()).device
    fields = json.dumps(dataclasses.asdict(settings), sort_keys=True)
    key = digest(
        VERSION, fields, draws, str(model), arithmetic(device), weights.parameters, weights.buffers,
        data.data.inputs, data.data.labels, data.unlearned,
    )  # fmt: skip
    return folder / "pretrained" / f"{key}.safetensors"


def _read(path: Path, like: Weights) -> tuple[Weights, float] | None:
    """The weights and the last epoch's mean loss; None where there are none that fit."""
    content = read_tensors(path)
    if content is None:
        return None
    parameters, buffers, loss = (content[0].get(name) for name in ("parameters", "buffers", "loss"))
    if parameters is None or buffers is None or loss is None:
        return None
    fits = usable(parameters, tuple(like.parameters.shape)) and usable(buffers, tuple(like.buffers.shape))
    return (Weights(parameters, buffers), float(loss)) if fits and usable(loss, ()) else None
