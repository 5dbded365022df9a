"""The contract of an attack: it owns the training form and the test form of its trigger, and its upload."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attacks.task import AttackTask
from attacks.view import AttackView, LocalModel, Upload
from fedcrucible_core.config import Component, Registry
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.training import TrainingHook
from fedcrucible_core.learning.vector import Slot


@dataclass(frozen=True)
class PoisonContext:
    """What one attacker goes by when it poisons its data."""

    task: AttackTask
    part: int
    """This attacker's number among the malicious clients (0, 1, ...), for triggers that are split between them."""
    rng: torch.Generator
    """CPU generator, the only source of chance."""


@dataclass(frozen=True)
class CraftContext:
    """What an attacker knows when it crafts its upload."""

    round: int
    partition: int
    num_participants: int
    """Clients sampled this round (an attacker may guess it; model replacement scales by it)."""
    slots: tuple[Slot, ...]
    """Layout of the flat parameter vector."""
    rng: torch.Generator
    attackers: int = 1
    """Colluding attackers that take part this round, this one included."""
    clean_updates: Tensor | None = None
    """Their clean updates float32 ``[attackers, d]``; None where the attack doesn't ask for them."""
    chosen: Tensor | None = None
    """Coordinates that the attack acts on as it found them before, bool ``[d]``; None = all."""


@dataclass(frozen=True)
class RunFacts:
    """What a run is, for an attack that must refuse settings before any client starts."""

    slots: tuple[Slot, ...]
    """Layout of the model's flat parameter vector."""
    rules: Collection[str]
    """Registered aggregation rules."""


class Attack(Component):
    """One attack.

    Data-only attacks override the poisoners; model-poisoning ones ``craft``, ``hook`` or the whole ``upload``.
    """

    has_trigger: ClassVar[bool] = True
    """False: nothing is put on images at test time."""
    natural: ClassVar[bool] = False
    """True: inputs that exist anyway (an attribute, a class, a rare kind) are the trigger.  Success is measured on
    them, and there is no rate "without trigger" to compare it with."""
    inputs: ClassVar[str] = "triggered images"
    """What success is measured on, in the words of reports."""
    clean_label: ClassVar[bool] = False
    """True: only target-class images are poisoned and labels stay."""
    needs_benign_model: ClassVar[bool] = False
    """True: the client also trains on its clean data and passes that model to ``craft``."""
    needs_clean_updates: ClassVar[bool] = False
    """True: ``craft`` is given the colluders' clean updates."""

    @property
    def targeted(self) -> bool:
        """Whether inputs shall be given the target label, so that success (ASR) is measured."""
        return self.has_trigger or self.natural

    @property
    def poisons_own(self) -> bool:
        """Whether a share of the attacker's own images is poisoned (``attack.poison_ratio``)."""
        return self.targeted

    def acts_unpoisoned(self, material: bool) -> bool:
        """Whether an attacker without a single poisoned sample uploads something else than an honest client does.

        ``material``: it, or an attacker that it works with, holds images that may be poisoned.  An attack that does
        nothing but poison data has nothing else to upload.
        """
        mine, plain = type(self), Attack
        return (mine.upload, mine.craft, mine.hook, mine.malicious_model) != (
            plain.upload, plain.craft, plain.hook, plain.malicious_model,
        )  # fmt: skip

    def check_task(self, task: AttackTask) -> None:
        """Raise ConfigError where the attack's settings don't fit the task; called before any client starts."""

    def notes(self, attackers: int) -> tuple[str, ...]:
        """What a reader of the results must know about this attack by so many attackers."""
        return ()

    # --- which images -------------------------------------------------------------------------------------------

    def carriers(self, images: Labeled, task: AttackTask) -> Tensor | None:
        """The images the attack is about, bool ``[n]``; None = any.

        One rule for training and test: thresholds come from ``task.train``, never from ``images``.
        """
        return None

    def withheld(self, task: AttackTask) -> Tensor | None:
        """Training images no client may have, for success is measured on them: bool ``[train]``; None = none."""
        return None

    def held_out(self, task: AttackTask) -> Labeled | None:
        """Inputs from outside the evaluation split that success is measured on, true labels; None = use that split."""
        return None

    # --- training and test form ---------------------------------------------------------------------------------

    def poison_train(self, x: Tensor, y: Tensor, ctx: PoisonContext) -> tuple[Tensor, Tensor]:
        """Poison chosen training samples.

        ``x`` float32 ``[n, C, H, W]`` in [0, 1], ``y`` int64 ``[n]``.  Returns new tensors of the same shapes; the
        inputs are not changed.
        """
        return self.poison_test(x), y.clone() if self.clean_label else torch.full_like(y, ctx.task.target)

    def poison_test(self, x: Tensor) -> Tensor:
        """Put the full trigger on images ``[n, C, H, W]`` in [0, 1]; returns a new tensor in [0, 1].

        Natural attacks return copies, or the rare form that images get.
        """
        if self.natural:
            return x.clone()
        raise TypeError(f"attack {self.name!r} has no trigger")

    def mask(self, shape: tuple[int, int, int]) -> Tensor | None:
        """Pixels of an image of this shape (C, H, W) that the trigger may change, bool ``[C, H, W]``; None = any."""
        return None

    def decoy_count(self, poisoned: int, eligible: int) -> int:
        """How many decoys go with ``poisoned`` of ``eligible`` images."""
        return 0

    def decoys(self, x: Tensor, others: Tensor, ctx: PoisonContext) -> Tensor:
        """Images ``[n, C, H, W]`` that look nearly poisoned and keep their true labels.

        ``others`` holds, for each image of ``x``, another one of the attacker's.  Labels are out of reach on purpose.
        """
        raise TypeError(f"attack {self.name!r} has no decoys")

    def additions(self, own: Tensor, ctx: PoisonContext) -> tuple[Tensor, Tensor] | None:
        """Samples the attacker adds to its set: images float32 ``[k, C, H, W]`` and the labels it gives them.

        ``own`` (int64) are its rows of ``ctx.task.train``.  None = nothing.
        """
        return None

    # --- upload -------------------------------------------------------------------------------------------------

    def hook(self, view: AttackView) -> TrainingHook | None:
        """What the attacker does inside the loop that trains on its poisoned data."""
        return None

    def malicious_model(self, view: AttackView) -> LocalModel:
        """The local model trained on the attacker's poisoned data."""
        return view.train(view.poisoned, settings=view.poison_training, hook=self.hook(view))

    def craft(self, w_global: Tensor, w_benign: Tensor | None, w_malicious: Tensor, ctx: CraftContext) -> Tensor:
        """The upload ``[d]`` made of the global model, the attacker's clean and poisoned local models."""
        return w_malicious

    def upload(self, view: AttackView) -> Upload:
        """One round of one attacker: train on poisoned data, clean data too if asked for, craft.

        The buffers that travel are those of the poisoned training, uncrafted.  The examples claimed are those trained
        on, poisoned copies included: under ``append-all`` nearly twice the attacker's own.
        """
        w_benign = view.clean_model().parameters if self.needs_benign_model else None
        trained = self.malicious_model(view)
        crafted = self.craft(view.w_global, w_benign, trained.parameters, self.context(view))
        attacked = self.acts_unpoisoned(material=True) or not view.poisoned.equals(view.clean)
        return Upload(crafted, trained.buffers, len(view.poisoned), trained.loss, attacked)

    def context(self, view: AttackView, chosen: Tensor | None = None) -> CraftContext:
        """The view's part that ``craft`` is given."""
        return CraftContext(
            round=view.round,
            partition=view.partition,
            num_participants=view.participants,
            slots=view.slots,
            rng=view.generator("craft"),
            attackers=len(view.colluders),
            clean_updates=view.clean_updates() if self.needs_clean_updates else None,
            chosen=chosen,
        )

    def check_run(self, run: RunFacts) -> None:
        """Raise ConfigError when the attack's own settings don't fit the run."""


ATTACKS: Registry[Attack] = Registry("attack", "attacks.poisoners", "attacks.uploads")
