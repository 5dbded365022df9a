"""Reads labelled texts out of what a language model answered, however it kept to the form."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedcrucible_core.config.plain_text import REPLACEMENT, plain_text
from fedcrucible_core.foundation.prompts import readable
from fedcrucible_core.learning.datasets.class_folders import folded

LONGEST_ANSWER = 1_000_000
"""Characters of an answer that are read."""
LONGEST_TEXT = 4000
"""Characters of one text that are kept; models see far fewer."""
MOST_FAILURES = 2000
"""Braces that begin nothing readable, after which the rest of an answer is given up."""
MOST_READ_IN_VAIN = 10 * LONGEST_ANSWER
"""Characters behind such braces that are read until they turn out to be nothing; the same."""
TEXT_KEYS = ("text", "sentence", "content", "document", "body")
LABEL_KEYS = ("label", "class", "category", "topic")
_THINKING = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL | re.IGNORECASE)
_NUMBERED = re.compile(r"\s*(?:\(?\d{1,5}[.):]|[-*\u2022])\s+(?P<rest>\S.*)")
_LABELLED = re.compile(r"[\[(*\"']*+(?P<label>[^\[\]()*:\t|]{1,60})[\])*\"']*+\s*[:\t|]\s*(?P<text>\S.*)")
_DECLINES = re.compile(
    r"\b(?:i['\u2019]?m sorry|i am sorry|i apologi[sz]e|as an ai|must decline"
    r"|(?:can['\u2019]?t|can ?not|won['\u2019]?t|will not|unable to|not able to)\b.{0,40}"
    r"\b(?:help|assist|comply|provide|create|generate|write|do|fulfil+|with))\b",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True)
class Item:
    """One text of an answer."""

    text: str
    label: str | None
    """What the answer calls its class; None = nothing."""


@dataclass(frozen=True)
class Answer:
    """What was found in one answer."""

    items: tuple[Item, ...]
    malformed: int
    """Entries that hold no text."""
    declined: bool
    """No entry at all, and words that say it won't."""


def read_answer(text: str, names: ClassNames) -> Answer:
    """The labelled texts of an answer; labels are as the answer spells them.

    JSON objects are looked for first, wherever they stand: one a line, in a list, in a list within an object, between
    other words, in a fence, cut off at the end. Where there is none, the points of a numbered or dotted list are taken,
    ``class: text`` or a text alone. What a model thought aloud between ``<think>`` marks is left out.
    """
    text = _spoken(text)
    items: list[Item] = []
    malformed = 0
    objects = list(json_objects(text))
    for entry in objects:
        item = _item(entry)
        if item is None:
            malformed += 1
        else:
            items.append(item)
    if not objects:
        items = [item for line in text.splitlines() if (item := _listed(line, names)) is not None]
    return Answer(tuple(items), malformed, not items and declines(text))


def declines(text: str) -> bool:
    """Whether an answer says that it won't."""
    return bool(_DECLINES.search(_spoken(text)[:2000]))


def clean(text: str) -> str:
    """A text on one line, without characters that are not shown, at most ``LONGEST_TEXT`` characters."""
    return " ".join(plain_text(text, LONGEST_TEXT).replace(REPLACEMENT, " ").split())


class ClassNames:
    """Finds the class that an answer means."""

    def __init__(self, names: Sequence[str], other_names: Sequence[str] = ()) -> None:
        """``other_names``: what the same classes are called too, in the same order; none where there are none."""
        numbered = any(name.strip().isdecimal() for name in names)  # then a number is a name, and no other class's
        numbers = [] if numbered else [str(number) for number in range(len(names))]
        self._by_name: dict[str, int] = {}
        for spellings in (names, [readable(name) for name in names], other_names, numbers):
            for number, name in enumerate(spellings):
                self._by_name.setdefault(folded(name), number)

    def find(self, label: str) -> int | None:
        """The number of the class of that name (case and separators don't matter); None = there is none.

        A class goes by its number too, unless some class is called by a number.
        """
        return self._by_name.get(folded(label[:200]))


def json_objects(text: str) -> Iterator[Mapping[str, Any]]:
    """Every JSON object of an answer, in order; of one that holds a list of further ones, these."""
    text = _spoken(text)
    decoder = json.JSONDecoder()
    start, failures, in_vain = text.find("{"), 0, 0
    while start >= 0 and failures < MOST_FAILURES and in_vain < MOST_READ_IN_VAIN:
        try:
            found, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError) as error:
            failures += 1
            in_vain += max(0, getattr(error, "pos", start) - start)
            start = text.find("{", start + 1)
            continue
        yield from _leaves(found)
        start = text.find("{", end)


def _spoken(text: str) -> str:
    """An answer without what the model thought aloud, and not endless."""
    return _THINKING.sub(" ", text[:LONGEST_ANSWER])


def _leaves(found: Any) -> Iterator[Mapping[str, Any]]:
    waiting = deque([found])
    while waiting:
        entry = waiting.popleft()
        if isinstance(entry, list):
            waiting.extendleft(reversed(entry))
        elif isinstance(entry, dict):
            lists = [value for value in entry.values() if isinstance(value, list)]
            if lists and _value(entry, TEXT_KEYS) is None:
                waiting.extendleft(reversed(lists))
            else:
                yield entry


def _item(entry: Mapping[str, Any]) -> Item | None:
    text = clean(_value(entry, TEXT_KEYS) or "")
    label = _value(entry, LABEL_KEYS)
    return Item(text, label) if _says_something(text) else None


def _value(entry: Mapping[str, Any], keys: Sequence[str]) -> str | None:
    """What stands at the first of the keys, in any case; a whole number as its digits."""
    lowered = {key.lower(): value for key, value in entry.items()}
    for key in keys:
        value = lowered.get(key)
        if isinstance(value, str):
            return value
        if type(value) is int and abs(value) < 10**9:
            return str(value)
    return None


def _listed(line: str, names: ClassNames) -> Item | None:
    """A point of a list; what stands before a colon is its label only if it is a class."""
    point = _NUMBERED.match(line)
    if point is None:
        return None
    rest = point["rest"].strip()
    labelled = _LABELLED.match(rest)
    label = labelled["label"].strip() if labelled is not None else ""
    if labelled is not None and names.find(label) is not None:
        text = labelled["text"]
    else:
        text, label = rest, ""
    text = clean(text.strip().strip("\"'"))
    return Item(text, label or None) if _says_something(text) else None


def _says_something(text: str) -> bool:
    return any(character.isalnum() for character in text)
