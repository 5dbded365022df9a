"""Poisoning without an attacker: a central training set, or the server's own data."""

from __future__ import annotations

from attacks.artefact import Artefact
from attacks.poisoner import PoisonContext, Poisoner
from attacks.poisoning import PoisonedSet
from attacks.preparation import prepared
from attacks.task import AttackTask
from fedcrucible_core.config.sections import PoisonSection, TaskSection
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.rng import torch_generator


def poison_set(
    poisoner: Poisoner,
    data: Labeled,
    info: DataInfo,
    section: PoisonSection,
    *,
    seed: int,
    artefact: Artefact | None = None,
    published: TaskSection | None = None,
) -> PoisonedSet:
    """Poison a labelled set as ``section`` says, with the whole trigger; no client, partition or attacker is involved.

    Args:
        poisoner: what is done.
        data: stored pictures (uint8), or inputs as a model takes them; not changed.
        info: its classes and shape.
        section: target, ratio, mode and scope.
        seed: of every choice.
        artefact: what the poisoner prepared; None = prepared on ``data`` now, or read from the cache.
        published: the data set whose numbers a list of images (``attack.semantic.attribute_file``) goes by.

    Returns:
        The training set, and which of its samples are poisoned or decoys.

    Raises:
        ConfigError: the poisoner is for inputs of another kind, or its settings don't fit the data.
    """
    task = AttackTask(section.target_label, info, data, published or TaskSection.model_validate({}))
    poisoner.require_inputs(info)
    poisoner.check_task(task)
    artefact = prepared(poisoner, task, seed=seed) if artefact is None else artefact
    return poisoner.poison(data, PoisonContext(task, section, torch_generator(seed, "poison"), artefact))
