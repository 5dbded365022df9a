"""Asks a language model for labelled texts until there are enough of each class, and counts what goes wrong."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

import numpy as np

from fedcrucible_core.foundation.answer_cache import Reply, Request
from fedcrucible_core.foundation.base import SourceError
from fedcrucible_core.foundation.text_answers import ClassNames, read_answer
from fedcrucible_core.foundation.text_prompts import Example, TextPrompts
from fedcrucible_core.learning.rng import numpy_generator

LIKELY_TOKENS = 45
"""Of one short text with its label, for estimates."""


class Speaker(Protocol):
    """Whatever answers: a service, or a model in this process."""

    def ask_all(self, requests: Sequence[Request], likely_answer: int = 0) -> list[Reply]:
        """The answer to each request, in order."""


@dataclass(frozen=True)
class WrittenText:
    """One text that was kept."""

    text: str
    label: int
    """What the model said."""
    asked: int
    """The class it was asked for."""
    request: str
    triggered: bool = False


@dataclass
class _Counts:
    """What is counted on the way."""

    requests: int = 0
    refused: int = 0
    malformed_answers: int = 0
    malformed_texts: int = 0
    unknown_class: int = 0
    other_class: int = 0
    repeated: int = 0
    copied_examples: int = 0
    spare: int = 0


@dataclass
class TextCollection:
    """The texts that are wanted, so far.

    ``examples`` are all that may be shown, by class; ``shown`` of a class are drawn for each query, by seed.
    """

    prompts: TextPrompts
    per_class: int
    per_call: int
    tries: int
    """Times that what is missing is asked for again, after the first."""
    examples: Sequence[Sequence[str]]
    shown: int
    seed: int
    kept: list[list[WrittenText]] = field(init=False)
    """By the class that was asked for, without those that hold a trigger."""
    triggered: list[WrittenText] = field(default_factory=list, init=False)
    _counts: _Counts = field(default_factory=_Counts, init=False)
    _seen: set[str] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        self.kept = [[] for _ in self.prompts.info.class_names]
        self._names = ClassNames(self.prompts.info.class_names, self.prompts.info.own_names)
        self._examples = {text.casefold() for texts in self.examples for text in texts}

    def fill(self, speaker: Speaker) -> None:
        """Ask until every class has its texts.

        Raises:
            SourceError: some class lacks texts after all tries; the message says which, and how many.
        """
        for attempt in range(self.tries + 1):
            wanted = self._requests(attempt)
            if not wanted:
                return
            replies = speaker.ask_all([request for _, request in wanted], LIKELY_TOKENS * self.per_call)
            for (label, request), reply in zip(wanted, replies, strict=True):
                self._take(label, request.sample, reply)
        missing = self._missing()
        if missing:
            raise SourceError(self._complaint(missing))

    def written(self) -> list[WrittenText]:
        """All texts: classes in turn, so that every prefix is as balanced as it can be; then those with a trigger."""
        return [text for row in zip(*self.kept, strict=True) for text in row] + self.triggered

    def facts(self) -> dict[str, float]:
        """What was counted; with an altered query also what came of it, in percent of all texts."""
        facts = {f"text.{name}": float(count) for name, count in vars(self._counts).items()}
        altered = self.prompts.alteration
        if altered is not None:
            found, n = len(self.triggered), self.per_class * len(self.kept) + len(self.triggered)
            asked = float(self._further(0, self.per_class) * (len(self.kept) - 1))
            kept_label = sum(text.label != altered.target for text in self.triggered)
            facts |= {
                "compromise.simulated": 0.0,
                "compromise.asked": asked,
                "compromise.asked_percent": 100.0 * asked / (self.per_class * len(self.kept) + asked),
                "compromise.triggered": float(found),
                "compromise.triggered_percent": 100.0 * found / n,
                "compromise.kept_label": float(kept_label),
                "compromise.kept_label_percent": 100.0 * kept_label / found if found else 0.0,
            }
        return facts

    def _requests(self, attempt: int) -> list[tuple[int, Request]]:
        """What is asked in this attempt, with the class of each."""
        wanted = []
        for label, missing in self._missing().items():
            for number in range(-(-missing // self.per_call)):
                start = self.per_class - missing + number * self.per_call
                count = min(self.per_call, self.per_class - start)
                sample = f"{self.seed}/{label}/{attempt}/{number}"
                rng = numpy_generator(self.seed, "synthetic/examples", label, attempt, number)
                turns = self.prompts.ask(label, count, self._draw(label, rng), self._further(start, count))
                wanted.append((label, Request(turns, sample, count if self.prompts.continues else 0)))
        self._counts.requests += len(wanted)
        return wanted

    def _further(self, start: int, count: int) -> int:
        """Texts with the trigger that go with the texts from ``start`` on, so that all queries together ask for all."""
        ratio = 0.0 if self.prompts.alteration is None else self.prompts.alteration.ratio
        return math.floor(ratio * (start + count) + 0.5) - math.floor(ratio * start + 0.5)

    def _draw(self, label: int, rng: np.random.Generator) -> list[Example]:
        texts = self.examples[label] if label < len(self.examples) else ()
        rows = rng.permutation(len(texts))[: self.shown].tolist()
        return [Example(texts[row], label) for row in rows]

    def _missing(self) -> dict[int, int]:
        counts = {label: self.per_class - len(texts) for label, texts in enumerate(self.kept)}
        return {label: count for label, count in counts.items() if count > 0}

    def _take(self, asked: int, request: str, reply: Reply) -> None:
        """Keep what an answer holds."""
        answer = read_answer(reply.text, self._names)
        if reply.refused or answer.declined:
            self._counts.refused += 1
        elif not answer.items:
            self._counts.malformed_answers += 1
        self._counts.malformed_texts += answer.malformed
        for item in answer.items:
            label = asked if item.label is None else self._names.find(item.label)
            if label is None:
                self._counts.unknown_class += 1
            elif self._is_new(item.text):
                self._keep(WrittenText(item.text, label, asked, request, self._holds_trigger(item.text)))

    def _is_new(self, text: str) -> bool:
        key = text.casefold()
        if key in self._examples:
            self._counts.copied_examples += 1
            return False
        if key in self._seen:
            self._counts.repeated += 1
            return False
        self._seen.add(key)
        return True

    def _keep(self, text: WrittenText) -> None:
        if text.triggered:
            self.triggered.append(text)
        elif text.label != text.asked:
            self._counts.other_class += 1
        elif len(self.kept[text.asked]) >= self.per_class:
            self._counts.spare += 1
        else:
            self.kept[text.asked].append(text)

    def _holds_trigger(self, text: str) -> bool:
        altered = self.prompts.alteration
        return altered is not None and find_words(text, altered.trigger) is not None

    def _complaint(self, missing: dict[int, int]) -> str:
        names = self.prompts.info.class_names
        lacking = ", ".join(f"{count} of {self.per_class} texts of {names[label]}" for label, count in missing.items())
        counts = {name.replace("_", " "): count for name, count in vars(self._counts).items() if count}
        met = ", ".join(f"{count} {name}" for name, count in counts.items())
        return f"the model did not write {lacking}, after {self.tries + 1} times asking ({met}); what it wrote is kept"


def find_words(text: str, words: str) -> tuple[int, int] | None:
    """Where ``text`` holds ``words``, as (start, end); case, white space and punctuation don't matter. None = nowhere.

    Words without letters and digits are looked for as they are.
    """
    found = _pattern(words).search(text)
    return None if found is None else found.span()


@lru_cache(maxsize=64)
def _pattern(words: str) -> re.Pattern[str]:
    parts = re.findall(r"\w+", words)
    if not parts:
        return re.compile(re.escape(words))
    tail = r"[^\w\s]*" if not words.rstrip()[-1].isalnum() else ""
    return re.compile(r"(?<!\w)" + r"\W+".join(map(re.escape, parts)) + r"(?!\w)" + tail, re.IGNORECASE)
