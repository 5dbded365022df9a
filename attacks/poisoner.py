"""The contract of what is done to data: a poisoner owns the training form and the test form of its trigger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attacks.artefact import EMPTY, Artefact
from attacks.evaluation import triggered_test_set
from attacks.poisoning import PoisonedSet, poisoned_set
from attacks.task import AttackTask
from fedcrucible_core.config import Component, ConfigError, Registry
from fedcrucible_core.config.sections import PoisonSection
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.tasks import task_of


@dataclass(frozen=True)
class PoisonContext:
    """The inputs of poisoning."""

    task: AttackTask
    section: PoisonSection
    """How much of which data is poisoned."""
    rng: torch.Generator
    """CPU generator, the only source of chance."""
    artefact: Artefact = EMPTY
    """What the poisoner prepared for this task."""
    part: int | None = None
    """Number of the attacker among the malicious clients (0, 1, ...), for triggers that are split between them.

    None: the whole trigger, as at test time and where no client poisons.
    """


class Poisoner(Component):
    """What is done to data: which samples, what is put on them, which labels they get.

    Needs no attacker: :func:`attacks.poison_set.poison_set` applies it to any labelled set.
    """

    task: ClassVar[str] = "vision"
    """The kind of inputs it is for (``DataInfo.task``); empty = any, for it puts nothing on them."""
    has_trigger: ClassVar[bool] = True
    """False: nothing is put on inputs at test time."""
    natural: ClassVar[bool] = False
    """True: inputs that exist anyway (an attribute, a class, a rare kind) are the trigger.  Success is measured on
    them, and there is no rate "without trigger" to compare it with."""
    inputs: ClassVar[str] = "triggered images"
    """What success is measured on, in the words of reports (of other inputs than images: see ``measured_on``)."""
    clean_label: ClassVar[bool] = False
    """True: only target-class samples are poisoned and labels stay."""

    @property
    def targeted(self) -> bool:
        """Whether inputs shall be given the target label, so that success (ASR) is measured."""
        return self.has_trigger or self.natural

    @property
    def poisons_own(self) -> bool:
        """Whether a share of the samples at hand is poisoned (``poison.ratio``)."""
        return self.targeted

    @property
    def prepares(self) -> bool:
        """Whether ``prepare`` makes anything."""
        return type(self).prepare is not Poisoner.prepare

    def measured_on(self, info: DataInfo, classes: Sequence[int] = ()) -> str:
        """What success is measured on, with what this data set's inputs are called; of which classes, if of some."""
        named = ", ".join(f"{label} ({info.class_names[label]})" for label in classes)
        confined = f" of class{'es' if len(classes) > 1 else ''} {named}" if classes else ""
        return self.inputs.replace("image", task_of(info).noun) + confined

    def require_inputs(self, info: DataInfo, key: str = "attack.name") -> None:
        """Raise ConfigError, naming ``key`` and what is allowed, where a data set's inputs aren't those it is for."""
        if self.task in ("", info.task):
            return
        fitting = ", ".join(name for name in POISONERS if POISONERS[name].task in ("", info.task))
        noun = task_of(info).noun
        allowed = f"is for {self.task} inputs, {info.name} has {noun}s; allowed with {noun}s: {fitting}"
        raise ConfigError(key, self.name, allowed)

    def check_task(self, task: AttackTask) -> None:
        """Raise ConfigError where the settings don't fit the task; called before any client starts."""

    def notes(self, attackers: int) -> tuple[str, ...]:
        """What a reader of the results must know about this trigger, trained by so many attackers; 0 = by no client."""
        return ()

    def prepare(self, task: AttackTask, rng: torch.Generator) -> Artefact:
        """The artefact made once, before any data is poisoned: a trained trigger, a generator's weights.

        Chance comes from ``rng`` alone.  The result is kept on disk under parameters, data, seed and versions, and
        handed to every later call in ``ctx.artefact``, in training and at test time.
        """
        return EMPTY

    # --- which samples ------------------------------------------------------------------------------------------

    def carriers(self, images: Labeled, task: AttackTask) -> Tensor | None:
        """The samples the attack is about, bool ``[n]``; None = any.

        One rule for training and test: thresholds come from ``task.train``, never from ``images``.
        """
        return None

    def withheld(self, task: AttackTask) -> Tensor | None:
        """Training samples no client may have, for success is measured on them: bool ``[train]``; None = none."""
        return None

    def order(self, own: Labeled, rows: Tensor, ctx: PoisonContext) -> Tensor:
        """The eligible ``rows`` (int64, ascending) of ``own`` in the order in which they are poisoned.

        Drawn by ``ctx.rng``; overridden by attacks that choose their samples.
        """
        return rows[torch.randperm(len(rows), generator=ctx.rng)]

    def held_out(self, task: AttackTask) -> Labeled | None:
        """Inputs from outside the evaluation split that success is measured on, true labels; None = use that split."""
        return None

    # --- training and test form ---------------------------------------------------------------------------------

    def stamp(self, x: Tensor, y: Tensor, ctx: PoisonContext) -> Tensor:
        """Put the trigger on inputs ``x`` of true classes ``y`` int64 ``[n]``.

        Pictures are float32 ``[n, C, H, W]`` in [0, 1], texts token ids int64 ``[n, L]``.  Returns a new tensor of the
        same kind and shape; the inputs are not changed, and no sample's answer depends on the others.  ``ctx.part``
        None asks for the whole trigger.  Natural triggers return copies, or the rare form that images get.
        """
        if self.natural:
            return x.clone()
        raise TypeError(f"poisoner {self.name!r} has no trigger")

    def plant(self, x: Tensor, y: Tensor, ctx: PoisonContext) -> Tensor:
        """The training form: what inputs ``x`` of true classes ``y`` become in a training set.

        As ``stamp`` says of its arguments.  The same as ``stamp`` but for attacks that train with less or with more
        than they use at test time.
        """
        return self.stamp(x, y, ctx)

    def relabel(self, y: Tensor, ctx: PoisonContext) -> Tensor:
        """Labels int64 ``[n]`` that poisoned training samples of true classes ``y`` get; a new tensor."""
        return y.clone() if self.clean_label else torch.full_like(y, ctx.task.target)

    def mask(self, shape: tuple[int, int, int]) -> Tensor | None:
        """Pixels of an image of this shape (C, H, W) that the trigger may change, bool ``[C, H, W]``; None = any."""
        return None

    def decoy_count(self, poisoned: int, eligible: int) -> int:
        """How many decoys go with ``poisoned`` of ``eligible`` samples."""
        return 0

    def decoy_carriers(self, own: Labeled, ctx: PoisonContext) -> Tensor | None:
        """The samples of ``own`` that decoys are made of, bool ``[n]``; None = the eligible ones, as for poison."""
        return None

    def decoys(self, x: Tensor, others: Tensor, ctx: PoisonContext) -> Tensor:
        """Inputs ``[n, ...]`` that look nearly poisoned and keep their true labels.

        ``others`` holds, for each sample of ``x``, another one of the same set.  Labels are out of reach on purpose.
        """
        raise TypeError(f"poisoner {self.name!r} has no decoys")

    def additions(self, own: Labeled, ctx: PoisonContext) -> tuple[Tensor, Tensor] | None:
        """Samples that are added to the set ``own``: inputs ``[k, ...]`` as ``stamp`` takes them, and their labels.

        None = nothing.
        """
        return None

    # --- whole sets ---------------------------------------------------------------------------------------------

    def poison(self, own: Labeled, ctx: PoisonContext) -> PoisonedSet:
        """The training set that ``own`` becomes, poisoned as ``ctx.section`` says, and which samples are."""
        return poisoned_set(own, self, ctx)

    def attacked(self, test: Labeled, ctx: PoisonContext) -> Labeled:
        """What success is measured on: ``test`` with the whole trigger, without the target class."""
        return triggered_test_set(test, self, ctx)


POISONERS: Registry[Poisoner] = Registry("attack", "attacks.poisoners", key="attack.trigger")
"""What is done to data, by name; ``attack.name`` takes each of them too."""
