"""Attacks that can't be had as they are set, found before any client starts."""

from __future__ import annotations

import torch

from attacks.adversary import Adversary
from attacks.compromise import Compromise
from attacks.evaluation import has_inputs
from attacks.poisoner import POISONERS, Poisoner
from attacks.preparation import artefact_file, measured_context
from attacks.source_classes import KEY as CLASSES
from attacks.task import AttackTask
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.foundation.base import STAGES
from fedcrucible_core.learning.data import DataSplits
from strategies.systems import Assembled


def key_of(config: RunConfigBase, poisoner: Poisoner) -> str:
    """The setting that names what is done to data: the attack itself, or the trigger that an attack plants."""
    return "attack.name" if poisoner.name == config.attack.name else "attack.trigger"


def check_central(config: RunConfigBase, system: Assembled) -> None:
    """What poison.central poisons is there, and the attack is one on data."""
    if not config.poison.central:
        return
    if system.kind.trainer != "central":
        allowed = f"strategy {config.strategy!r} has no central training set; allowed: false, or strategy = central"
        raise ConfigError("poison.central", True, allowed)
    if config.attack.name not in POISONERS:
        fitting = f"allowed: {', '.join(POISONERS)}"
        allowed = f"is no attack on data alone, and with poison.central nobody uploads anything; {fitting}"
        raise ConfigError("attack.name", config.attack.name, allowed)


def check_attack(config: RunConfigBase, adversary: Adversary, data: DataSplits) -> None:
    """The attack can do what its settings ask for, on these data. Raises ConfigError."""
    poisoner = adversary.poisoner
    target, classes = config.poison.target_label, data.info.num_classes
    if target >= classes:
        raise ConfigError("poison.target_label", target, f"{data.info.name} has classes 0 to {classes - 1}")
    start, stop = config.adversary.start_round, config.adversary.stop_round
    if stop and stop < start:
        raise ConfigError("adversary.stop_round", stop, f"0, or at least adversary.start_round = {start}")
    poisoner.require_inputs(data.info, key_of(config, poisoner))
    task, measured = AttackTask.of(config, data), data.measured(config.task.eval_split)
    poisoner.check_task(task)
    _check_labels_alone(config, adversary)
    _check_artefact(config, poisoner)
    if not poisoner.targeted or config.task.eval_split == "none":
        return
    if not has_inputs(poisoner, measured, task):
        wanted = poisoner.measured_on(data.info, task.classes)
        if task.classes:
            raise ConfigError(CLASSES, config.poison.classes, f"leaves no {wanted} to measure ASR on; list others")
        allowed = f"leaves no {wanted} of another class than the target's to measure ASR on; use more"
        raise ConfigError("task.test_samples", config.task.test_samples, allowed)
    if not poisoner.prepares:  # what has to be trained first is not made for a check
        one = measured.subset(torch.arange(1))
        ctx = measured_context(config, poisoner, task)
        poisoner.stamp(one.for_model(), one.labels, ctx)  # refuses a trigger that doesn't fit the images


def _check_labels_alone(config: RunConfigBase, adversary: Adversary) -> None:
    """What changes labels alone isn't asked for copies, which would contradict the samples that they are copies of.

    Nor does anybody else choose the samples of an attack that ranks them: others than those are not its poison.
    """
    poisoner, uploader, compromise = adversary.poisoner, adversary.uploader, adversary.compromise
    if not poisoner.label_only:
        return
    name = poisoner.name
    if config.poison.mode == "append-all":
        allowed = (
            f"{name} changes labels and no input: each copy would stand beside the same sample with its true label; "
            "allowed: replace"
        )
        raise ConfigError("poison.mode", "append-all", allowed)
    if not poisoner.ranks:
        return
    fitting = ", ".join(other for other in POISONERS if not POISONERS.built(config, other).label_only)
    chosen = f"changes labels alone, of samples that it chooses itself, and {config.attack.name}"
    if uploader.appends_copies:
        allowed = f"{chosen} trains on copies of all of them; allowed: {fitting}"
        raise ConfigError("attack.trigger", name, allowed)
    if compromise is not None and _plants(compromise):
        allowed = f"{chosen} plants its trigger in samples that a source makes anew; allowed: {fitting}"
        raise ConfigError("attack.trigger", name, allowed)


def _plants(compromise: Compromise) -> bool:
    return any(compromise.reaches(stage) for stage in STAGES)


def _check_artefact(config: RunConfigBase, poisoner: Poisoner) -> None:
    """A prepared trigger is the same everywhere."""
    path = config.attack.artefact
    if path and not poisoner.prepares:
        raise ConfigError("attack.artefact", path, f"poisoner {poisoner.name!r} prepares nothing; leave it empty")
    if path:
        artefact_file(path)
    elif poisoner.prepares and config.federation.own_data:
        allowed = "nodes with data of their own can't prepare what the server does; give every machine the same file"
        raise ConfigError("attack.artefact", path, allowed)
