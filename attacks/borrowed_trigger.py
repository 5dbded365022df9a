"""Attacks on the upload that plant the trigger of another attack."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Generic, Self, TypeVar, cast, overload

from pydantic import Field, PrivateAttr
from torch import Tensor

from attacks.base import ATTACKS, Attack, PoisonContext
from attacks.task import AttackTask
from fedcrucible_core.config import Component, ConfigError
from fedcrucible_core.config.component import Names
from fedcrucible_core.config.errors import did_you_mean
from fedcrucible_core.learning.data import Labeled

T = TypeVar("T")


class _Lent(Generic[T]):
    """A class constant of attacks that, on an instance, is the lender's; ``default`` on the class itself."""

    def __init__(self, default: T) -> None:
        self.default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> T: ...

    @overload
    def __get__(self, instance: BorrowedTrigger, owner: type) -> T: ...

    def __get__(self, instance: BorrowedTrigger | None, owner: type) -> T:
        return self.default if instance is None else cast(T, getattr(instance.lender, self.name))


class BorrowedTrigger(Attack):
    """The images are poisoned and tested by the attack that ``trigger`` names, with that attack's own settings.

    E.g. ``attack.name=neurotoxin attack.neurotoxin.trigger=badnets attack.badnets.size=5``.  Natural attacks lend their
    inputs likewise: ``attack.name=pgd attack.pgd.trigger=edge-case``.
    """

    has_trigger = _Lent(True)
    natural = _Lent(False)
    inputs = _Lent("triggered images")
    clean_label = _Lent(False)
    trigger: Annotated[str, Names("attack")] = Field(
        "badnets", description="Attack whose trigger is planted; its own section holds its settings"
    )
    _lender: Attack | None = PrivateAttr(default=None)

    def resolved(self, named: Callable[[str], Component]) -> Self:
        """With the trigger's attack, built from its own section.

        Raises ConfigError for an attack that has no target or borrows its trigger itself.
        """
        lenders = [n for n, c in ATTACKS.classes().items() if not issubclass(c, BorrowedTrigger)]
        lender = cast(Attack, named(self.trigger)) if self.trigger in lenders else None
        if lender is None or not lender.targeted:
            names = [name for name in lenders if ATTACKS.create(name).targeted]
            close = did_you_mean(self.trigger, names)
            raise ConfigError(f"attack.{self.name}.trigger", self.trigger, f"{close}allowed: {', '.join(names)}")
        built = self.model_copy()
        built._lender = lender
        return built

    @property
    def lender(self) -> Attack:
        """The attack whose trigger is planted; with its defaults where nobody configured it."""
        return self._lender or ATTACKS.create(self.trigger)

    # --- as the trigger's attack does -----------------------------------------------------------------------------

    @property
    def targeted(self) -> bool:
        """As the trigger's attack says."""
        return self.lender.targeted

    @property
    def poisons_own(self) -> bool:
        """As the trigger's attack says."""
        return self.lender.poisons_own

    def acts_unpoisoned(self, material: bool) -> bool:
        """What is done to the upload is done to that of clean training too."""
        return True

    def check_task(self, task: AttackTask) -> None:
        """As the trigger's attack does."""
        self.lender.check_task(task)

    def notes(self, attackers: int) -> tuple[str, ...]:
        """As the trigger's attack says."""
        return self.lender.notes(attackers)

    def carriers(self, images: Labeled, task: AttackTask) -> Tensor | None:
        """As the trigger's attack says."""
        return self.lender.carriers(images, task)

    def withheld(self, task: AttackTask) -> Tensor | None:
        """As the trigger's attack says."""
        return self.lender.withheld(task)

    def held_out(self, task: AttackTask) -> Labeled | None:
        """As the trigger's attack says."""
        return self.lender.held_out(task)

    def poison_train(self, x: Tensor, y: Tensor, ctx: PoisonContext) -> tuple[Tensor, Tensor]:
        """As the trigger's attack does."""
        return self.lender.poison_train(x, y, ctx)

    def poison_test(self, x: Tensor) -> Tensor:
        """As the trigger's attack does."""
        return self.lender.poison_test(x)

    def mask(self, shape: tuple[int, int, int]) -> Tensor | None:
        """As the trigger's attack says."""
        return self.lender.mask(shape)

    def decoy_count(self, poisoned: int, eligible: int) -> int:
        """As the trigger's attack says."""
        return self.lender.decoy_count(poisoned, eligible)

    def decoys(self, x: Tensor, others: Tensor, ctx: PoisonContext) -> Tensor:
        """As the trigger's attack does."""
        return self.lender.decoys(x, others, ctx)

    def additions(self, own: Tensor, ctx: PoisonContext) -> tuple[Tensor, Tensor] | None:
        """As the trigger's attack does."""
        return self.lender.additions(own, ctx)
