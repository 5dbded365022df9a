"""The server's own labelled images for rules that need some; never a client's, never a test image."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from attacks.base import ATTACKS
from attacks.support.image_lists import members
from attacks.task import AttackTask
from defenses.support.root_set import RootedRule, RootSet
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.foundation.base import ServerData
from fedcrucible_core.learning.data import DataSplits, LabeledImages
from fedcrucible_core.learning.datasets.subsets import stratified_order
from fedcrucible_core.learning.rng import numpy_generator


def check_root_set(config: RunConfigBase, rule: RootedRule, data: DataSplits) -> None:
    """Raise ConfigError when the run can't provide the root set that the rule asks for."""
    key, wanted = f"defense.{rule.name}", rule.root_samples
    if rule.root == "synthetic":
        made = config.synthetic.per_class * data.info.num_classes
        if wanted > made:
            allowed = f"at most the {made} images of synthetic.per_class = {config.synthetic.per_class}"
            raise ConfigError(f"{key}.root_samples", wanted, allowed)
        return
    if config.task.eval_split == "validation":
        allowed = "its images are the validation split, which task.eval_split = validation measures; allowed: synthetic"
        raise ConfigError(f"{key}.root", rule.root, allowed)
    available = len(_held_out(config, data))
    if wanted > available:
        allowed = f"at most the {available} images held out by task.validation_fraction"
        raise ConfigError(f"{key}.root_samples", wanted, allowed)


def describe_root_set(config: RunConfigBase, rule: RootedRule) -> str:
    """What the record says that the rule was given."""
    if rule.root == "synthetic":
        return f"root set: {rule.root_samples} synthetic server images ({config.synthetic.source})"
    return f"root set: {rule.root_samples} clean real images (validation split, no client's)"


def build_root_set(
    config: RunConfigBase,
    rule: RootedRule,
    data: DataSplits,
    synthetic: Callable[[], ServerData],
    device: torch.device,
) -> RootSet:
    """Draw the root set, stratified by class, from (seed, "root"); all there are where the guide dropped too many."""
    if rule.root == "synthetic":
        made = synthetic()
        chosen = _stratified(made.labels.cpu(), rule.root_samples, config.run.seed)
        return RootSet(made.images.cpu()[chosen].to(device), made.labels.cpu()[chosen].to(device))
    held_out = _held_out(config, data)
    held_out = held_out.subset(_stratified(held_out.labels, rule.root_samples, config.run.seed))
    return RootSet(held_out.pixels().to(device), held_out.labels.to(device))


def _held_out(config: RunConfigBase, data: DataSplits) -> LabeledImages:
    """The validation split, without images that attack success is measured on."""
    attack = ATTACKS.of(config)
    measured = attack.held_out(AttackTask.of(config, data))
    if measured is None:
        return data.validation
    return data.validation.subset((~members(data.validation.images, measured.images)).nonzero().flatten())


def _stratified(labels: Tensor, samples: int, seed: int) -> Tensor:
    order = stratified_order(labels.numpy(), numpy_generator(seed, "root"))
    return torch.from_numpy(order[:samples]).sort().values
