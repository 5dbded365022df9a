"""Example texts, with the words marked that a trigger has added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from fedcrucible_core.records.schema import ExampleTexts, RunDescription
from fedcrucible_core.reports.charts.curves import class_name
from fedcrucible_core.reports.charts.examples import PER_ROW, legend_of


@dataclass(frozen=True)
class Piece:
    """Some words of a text."""

    words: str
    added: bool
    """Whether the trigger has put them there."""


@dataclass(frozen=True)
class ShownText:
    """One text in pieces, and its class."""

    pieces: tuple[Piece, ...]
    caption: str


@dataclass(frozen=True)
class TextRows:
    """Texts of one kind."""

    kind: str
    legend: str
    texts: tuple[ShownText, ...]


def text_rows(run: RunDescription, kinds: Sequence[ExampleTexts]) -> list[TextRows]:
    """Texts of every recorded kind; in "triggered" what "clean" doesn't have is marked."""
    clean = next((kind.texts for kind in kinds if kind.kind == "clean"), ())
    return [_rows(run, kind, clean if kind.kind == "triggered" else kind.texts) for kind in kinds]


def _rows(run: RunDescription, kind: ExampleTexts, before: Sequence[str]) -> TextRows:
    shown = []
    for place, text in enumerate(kind.texts[:PER_ROW]):
        caption = class_name(run, kind.labels[place]) if place < len(kind.labels) else ""
        shown.append(ShownText(_pieces(before[place], text) if place < len(before) else _whole(text), caption))
    return TextRows(kind.kind, legend_of(run, kind.kind), tuple(shown))


def _whole(text: str) -> tuple[Piece, ...]:
    return (Piece(text, False),)


def _pieces(before: str, text: str) -> tuple[Piece, ...]:
    """The text in pieces that ``before`` has or hasn't, in order."""
    if text == before:
        return _whole(text)
    old, new = before.split(), text.split()
    changes = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    return tuple(Piece(" ".join(new[start:stop]), tag != "equal") for tag, _, _, start, stop in changes if stop > start)
