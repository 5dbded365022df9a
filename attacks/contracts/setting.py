"""What all checks of attacks stand on: random inputs, a poisoner on trial, and the sentence of a failure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from attacks.artefact import Artefact
from attacks.poisoner import PoisonContext, Poisoner
from attacks.task import AttackTask
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.sections import PoisonSection, TaskSection
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.tasks.text import TextTask
from fedcrucible_core.learning.tasks.tokenizer import PAD

CLASSES, TARGET = 6, 3
NAMES = tuple("abcdef")


@dataclass(frozen=True)
class Ground(ABC):
    """Random inputs of one kind and shape, on which poisoners are tried."""

    info: DataInfo

    @abstractmethod
    def samples(self, count: int, seed: int) -> Labeled:
        """Stored inputs that every trigger changes, so none at the edge of its range; labels 0..5 in turn."""

    @abstractmethod
    def extremes(self) -> Iterator[Tensor]:
        """Inputs ``[2, ...]`` at the edges of their range, as a model takes them."""

    @abstractmethod
    def check(self, made: Tensor, given: Tensor, what: str) -> None:
        """Require inputs of this kind and of the shape of those given. Raises AssertionError."""

    def task(self, data: Labeled) -> AttackTask:
        """A task of six classes whose training set is ``data``."""
        return AttackTask(TARGET, self.info, data, TaskSection.model_validate({}))


class Pictures(Ground):
    """Images float32 in [0, 1], stored as uint8."""

    @classmethod
    def of(cls, shape: tuple[int, int, int]) -> Pictures:
        """Images of one shape (C, H, W)."""
        return cls(DataInfo("random", NAMES, shape, (0.5,) * shape[0], (0.5,) * shape[0]))

    def samples(self, count: int, seed: int) -> Labeled:
        """Images without extreme pixels."""
        pixels = torch.randint(26, 230, (count, *self.info.shape), dtype=torch.uint8, generator=seeded(seed))
        return Labeled(pixels, torch.arange(count) % CLASSES)

    def extremes(self) -> Iterator[Tensor]:
        """All black, all white."""
        for value in (0.0, 1.0):
            yield torch.full((2, *self.info.shape), value)

    def check(self, made: Tensor, given: Tensor, what: str) -> None:
        """Require float32 images in [0, 1]."""
        require(made.shape == given.shape, f"{what} has shape {tuple(made.shape)}, not {tuple(given.shape)}")
        require(made.dtype == torch.float32, f"{what} is {made.dtype}, not float32")
        require(bool(torch.isfinite(made).all()), f"{what} is not finite")
        if len(made):
            require(float(made.min()) >= 0.0 and float(made.max()) <= 1.0, f"{what} leaves the range [0, 1]")


class Texts(Ground):
    """Token ids of the tokenizer that ships."""

    @classmethod
    def of(cls, length: int, reserved: int) -> Texts:
        """Texts of at most so many tokens, some of which are kept free."""
        return cls(DataInfo("random", NAMES, (length,), (), (), task="text", tokenizer="wordnet", reserved=reserved))

    def samples(self, count: int, seed: int) -> Labeled:
        """Texts of one token to as many as there is room for."""
        rng, task = seeded(seed), TextTask(self.info)
        lengths = torch.randint(1, task.room + 1, (count, 1), generator=rng)
        return Labeled(_cut(task.random_inputs(count, rng), lengths, task), torch.arange(count) % CLASSES)

    def extremes(self) -> Iterator[Tensor]:
        """No word at all, no room left."""
        task = TextTask(self.info)
        full = task.random_inputs(2, seeded(1))
        yield _cut(full, torch.zeros(2, 1, dtype=torch.int64), task)
        full[:, task.room + 1 :] = full[:, 1:2]
        full[:, -1] = task.tokenizer.last
        yield full

    def check(self, made: Tensor, given: Tensor, what: str) -> None:
        """Require token ids with one token before a text, one after it, and padding at the end alone."""
        require(made.shape == given.shape, f"{what} has shape {tuple(made.shape)}, not {tuple(given.shape)}")
        require(made.dtype == torch.int64, f"{what} is {made.dtype}, not int64")
        if not len(made):
            return
        tokenizer = TextTask(self.info).tokenizer
        require(0 <= int(made.min()) <= int(made.max()) < tokenizer.size, f"{what} holds an id that is no token")
        used = made != PAD
        require(bool((used[:, 1:] <= used[:, :-1]).all()), f"{what} has padding within a text")
        framed = used.any(1)
        last = made.gather(1, (used.sum(1, keepdim=True) - 1).clamp(min=0)).flatten()
        require(bool((last[framed] == tokenizer.last).all()), f"{what} doesn't end with the token that ends texts")


def _cut(ids: Tensor, lengths: Tensor, task: TextTask) -> Tensor:
    """Texts ``[n, L]`` cut to ``lengths`` int64 ``[n, 1]`` tokens of their own."""
    steps = torch.arange(task.length)
    return ids.where(steps <= lengths, PAD).masked_fill(steps == lengths + 1, task.tokenizer.last)


@dataclass(frozen=True)
class Trial:
    """A poisoner on random inputs of one kind and shape."""

    poisoner: Poisoner
    ground: Ground
    task: AttackTask
    artefact: Artefact

    @classmethod
    def of(cls, poisoner: Poisoner, ground: Ground, count: int = 48) -> Trial:
        """On so many samples of the ground; made once for all checks of equal poisoners, for triggers are trained."""
        return _trial(poisoner, ground, count)

    @property
    def data(self) -> Labeled:
        """All samples."""
        return self.task.train

    def context(self, part: int | None = 0, seed: int = 0, section: PoisonSection | None = None) -> PoisonContext:
        """What the poisoner is given."""
        chosen = section or section_of(ratio=0.5)
        return PoisonContext(self.task, chosen, seeded(seed), self.artefact, part)

    def whole(self, x: Tensor, y: Tensor) -> Tensor:
        """The test form."""
        return self.poisoner.stamp(x, y, self.context(part=None))


@lru_cache(maxsize=32)
def _trial(poisoner: Poisoner, ground: Ground, count: int) -> Trial:
    task = ground.task(ground.samples(count, 9))
    return Trial(poisoner, ground, task, poisoner.prepare(task, seeded(7)))


def named(*checks: Callable[..., None]) -> Iterator[tuple[str, Callable[..., None]]]:
    """Each check with its name in words."""
    for check in checks:
        yield check.__name__.replace("_", " "), check


def require(holds: bool, sentence: str) -> None:
    """Raise AssertionError with ``sentence`` unless it holds."""
    if not holds:
        raise AssertionError(sentence)


def section_of(**values: object) -> PoisonSection:
    """Poison settings with the checks' target class."""
    return PoisonSection.model_validate({"target_label": TARGET, **values})


def seeded(seed: int) -> torch.Generator:
    """A CPU generator."""
    return torch.Generator().manual_seed(seed)


def grounds(poisoner: Poisoner) -> Iterator[Ground]:
    """What a poisoner is for: grey and colour images, texts, or all of them; without those that it refuses.

    Raises AssertionError where it refuses them all.
    """
    fitting = [ground for ground in _every_ground(poisoner) if _taken(poisoner, ground)]
    require(bool(fitting), "check_task refuses random inputs of every kind that it is for")
    yield from fitting


def _taken(poisoner: Poisoner, ground: Ground) -> bool:
    try:
        poisoner.check_task(ground.task(ground.samples(48, 9)))
    except ConfigError:
        return False
    return True


def _every_ground(poisoner: Poisoner) -> Iterator[Ground]:
    if poisoner.task in ("", "text"):
        yield Texts.of(24, 12)
    if poisoner.task in ("", "vision"):
        yield from (Pictures.of((1, 28, 28)), Pictures.of((3, 32, 32)))


def main_ground(poisoner: Poisoner) -> Ground:
    """One of them, for what doesn't depend on the shape."""
    return list(grounds(poisoner))[-1]


def trials(poisoner: Poisoner) -> Iterator[Trial]:
    """The poisoner on every ground."""
    for ground in grounds(poisoner):
        yield Trial.of(poisoner, ground)


def differing(a: Tensor, b: Tensor) -> Tensor:
    """Which rows differ anywhere, bool ``[n]``."""
    return (a != b).flatten(1).any(1)
