"""The contract of what is done to the model that an attacker uploads."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attacks.compromise import Compromise
from attacks.view import AttackView, Upload
from fedcrucible_core.config import Component, Registry
from fedcrucible_core.learning.training import TrainingHook
from fedcrucible_core.learning.vector import Slot
from fedcrucible_core.learning.weights import Trained, Weights


@dataclass(frozen=True)
class CraftContext:
    """An attacker's knowledge when it crafts its upload."""

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


class Uploader(Component):
    """What is done to the model: inside its training, or to the vector that is uploaded.

    The data it is trained on are poisoned by the poisoner that ``attack.trigger`` names.  Override ``craft``, ``hook``,
    ``malicious_model`` or the whole ``upload``.
    """

    plants: ClassVar[bool] = True
    """False: no trigger is planted and data stay clean (untargeted attacks)."""
    appends_copies: ClassVar[bool] = False
    """True: it also trains on poisoned copies beside all clean samples, whatever ``poison.mode`` says."""
    needs_target: ClassVar[bool] = False
    """True: it makes sense only with a poisoner that has a target."""
    needs_benign_model: ClassVar[bool] = False
    """True: the client also trains on its clean data and passes that model to ``craft``."""
    needs_clean_updates: ClassVar[bool] = False
    """True: ``craft`` is given the colluders' clean updates."""

    @property
    def compromise(self) -> Compromise | None:
        """What it does to the server's synthetic data besides; None = nothing."""
        return None

    def acts_unpoisoned(self, material: bool) -> bool:
        """Whether an attacker without a single poisoned sample uploads something else than an honest client does.

        ``material``: it, or an attacker that it works with, holds samples that may be poisoned.  By default yes: what
        is done to the upload is done to that of clean training too.
        """
        return True

    def check_run(self, run: RunFacts) -> None:
        """Raise ConfigError when the attack's own settings don't fit the run."""

    def hook(self, view: AttackView) -> TrainingHook | None:
        """What the attacker does inside the loop that trains on its poisoned data."""
        return None

    def malicious_model(self, view: AttackView) -> Trained:
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
        return Upload(Weights(crafted, trained.buffers), len(view.poisoned), trained.loss, attacked)

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


class PlainUpload(Uploader):
    """The model trained on poisoned data, uploaded as it is: what attacks do that only poison data."""

    def acts_unpoisoned(self, material: bool) -> bool:
        """No: without poisoned samples that is the honest model."""
        return False


UPLOADERS: Registry[Uploader] = Registry("attack", "attacks.uploads")
"""What is done to models, by name."""
