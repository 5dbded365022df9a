"""Poisoning without an attacker: a central training set, or the server's own data."""

from __future__ import annotations

import torch

from attacks.artefact import EMPTY, Artefact
from attacks.poisoner import PoisonContext, Poisoner
from attacks.poisoning import PoisonCount, PoisonedSet, poison_count
from attacks.preparation import prepared, run_artefact
from attacks.schedule import poisons_centrally
from attacks.source_classes import check_classes, listed_classes
from attacks.task import AttackTask
from fedcrucible_core.config.compose import RunConfigBase
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
        section: target, ratio, mode, scope, classes (listed ones: no guide is asked here) and smoke.
        seed: of every choice.
        artefact: what the poisoner prepared; None = prepared on ``data`` now, or read from the cache.
        published: the data set whose numbers a list of images (``attack.semantic.attribute_file``) goes by.

    Returns:
        The training set, and which of its samples are poisoned or decoys.

    Raises:
        ConfigError: the poisoner is for inputs of another kind, or its settings don't fit the data.
    """
    check_classes(section, poisoner)
    classes = listed_classes(section, info)
    task = AttackTask(section.target_label, info, data, published or TaskSection.model_validate({}), classes)
    poisoner.require_inputs(info)
    poisoner.check_task(task)
    artefact = prepared(poisoner, task, seed=seed) if artefact is None else artefact
    return poisoner.poison(data, PoisonContext(task, section, torch_generator(seed, "poison"), artefact))


def central_set(config: RunConfigBase, poisoner: Poisoner, task: AttackTask) -> PoisonedSet:
    """What central training trains on, with the truth about it.

    The training images without any that attack success is measured on; with ``poison.central`` poisoned as the section
    ``poison`` says, by what the poisoner prepared for the run.
    """
    own = _central_images(poisoner, task)
    if not poisons_centrally(config):
        nothing = torch.zeros(len(own), dtype=torch.bool)
        clean = Labeled(own.for_model(), own.labels, own.rows)
        return PoisonedSet(clean, nothing, nothing.clone(), nothing.clone())
    rng = torch_generator(config.run.seed, "poison")
    return poisoner.poison(own, PoisonContext(task, config.poison, rng, run_artefact(config, poisoner, task)))


def central_count(config: RunConfigBase, poisoner: Poisoner, task: AttackTask) -> PoisonCount:
    """How many samples :func:`central_set` poisons of a run that poisons it, at most; draws nothing."""
    artefact = run_artefact(config, poisoner, task) if poisoner.prepares else EMPTY
    context = PoisonContext(task, config.poison, torch.Generator(), artefact)
    return poison_count(_central_images(poisoner, task), poisoner, context)


def _central_images(poisoner: Poisoner, task: AttackTask) -> Labeled:
    withheld = poisoner.withheld(task)
    return task.train if withheld is None else task.train.subset((~withheld).nonzero().flatten())
