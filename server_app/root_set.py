"""The server's own labelled inputs for rules that need some; never a client's, never one of the test split."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from attacks.adversary import Adversary
from attacks.support.image_lists import members
from attacks.task import AttackTask
from defenses.needs import CleanNeeds, RootNeeds
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.foundation.base import ServerData
from fedcrucible_core.learning.data import DataSplits, Labeled
from fedcrucible_core.learning.datasets.subsets import stratified_order
from fedcrucible_core.learning.rng import numpy_generator
from fedcrucible_core.learning.tasks import task_of


def check_root_set(config: RunConfigBase, rule: str, wanted: RootNeeds, data: DataSplits) -> None:
    """Raise ConfigError when the run can't provide the root set that the rule of this name asks for."""
    key = f"defense.{rule}.root"
    if wanted.kind == "synthetic":
        _check_synthetic(config, f"{key}_samples", wanted.samples, data)
    else:
        _check_validation(config, key, wanted.kind, "synthetic", wanted.samples, data)


def check_clean_set(config: RunConfigBase, repair: str, wanted: CleanNeeds, data: DataSplits) -> None:
    """Raise ConfigError when the run can't provide the samples with true labels that the repair of this name asks for.

    Those of a split are whatever it leaves.
    """
    key = f"repair.{repair}.clean"
    if wanted.kind == "synthetic":
        _check_synthetic(config, f"{key}_samples", wanted.samples, data)
    elif wanted.kind == "validation":
        _check_validation(config, key, wanted.kind, "synthetic, split", wanted.samples, data)


def _check_synthetic(config: RunConfigBase, key: str, samples: int, data: DataSplits) -> None:
    made = config.synthetic.per_class * data.info.num_classes
    if samples > made:
        noun, per_class = task_of(data.info).noun, config.synthetic.per_class
        raise ConfigError(key, samples, f"at most the {made} {noun}s of synthetic.per_class = {per_class}")


def _check_validation(config: RunConfigBase, key: str, kind: str, others: str, samples: int, data: DataSplits) -> None:
    noun = task_of(data.info).noun
    if config.task.eval_split == "validation":
        allowed = f"its {noun}s are the validation split, which task.eval_split measures; allowed: {others}"
        raise ConfigError(key, kind, allowed)
    available = len(_held_out(config, data))
    if samples > available:
        allowed = f"at most the {available} {noun}s held out by task.validation_fraction"
        raise ConfigError(f"{key}_samples", samples, allowed)


def describe_root_set(config: RunConfigBase, wanted: RootNeeds, noun: str) -> str:
    """What the record says that the rule was given; ``noun`` is what the task calls one input."""
    if wanted.kind == "synthetic":
        return f"root set: {wanted.samples} synthetic server {noun}s ({config.synthetic.source})"
    return f"root set: {wanted.samples} clean real {noun}s (validation split, no client's)"


def build_root_set(
    config: RunConfigBase,
    wanted: RootNeeds,
    data: DataSplits,
    synthetic: Callable[[], ServerData],
    device: torch.device,
) -> Labeled:
    """Draw the root set, stratified by class, from (seed, "root"); all there are where the guide dropped too many."""
    if wanted.kind == "synthetic":
        return drawn_synthetic(synthetic().originals, wanted.samples, config.run.seed).to(device)
    return drawn_clean(config, data, wanted.samples).to(device)


def drawn_synthetic(made: Labeled, samples: int, seed: int, purpose: str = "root") -> Labeled:
    """So many of the server's own samples, stratified by class; all there are where there are fewer; on the CPU."""
    made = made.to("cpu")
    return made.subset(_stratified(made.labels, samples, seed, purpose))


def drawn_clean(config: RunConfigBase, data: DataSplits, samples: int, purpose: str = "root") -> Labeled:
    """So many real samples of the validation split, stratified by class, as a model takes them; on the CPU."""
    held_out = _held_out(config, data)
    held_out = held_out.subset(_stratified(held_out.labels, samples, config.run.seed, purpose))
    return Labeled(held_out.for_model(), held_out.labels)


def _held_out(config: RunConfigBase, data: DataSplits) -> Labeled:
    """The validation split, without images that attack success is measured on."""
    measured = Adversary.of(config).poisoner.held_out(AttackTask.of(config, data))
    if measured is None:
        return data.validation
    return data.validation.subset((~members(data.validation.inputs, measured.inputs)).nonzero().flatten())


def _stratified(labels: Tensor, samples: int, seed: int, purpose: str) -> Tensor:
    order = stratified_order(labels.numpy(), numpy_generator(seed, purpose))
    return torch.from_numpy(order[:samples]).sort().values
