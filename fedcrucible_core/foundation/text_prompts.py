"""What a language model is asked when it shall write labelled texts, and what an attacker makes of that."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from fedcrucible_core.foundation.alteration import Alteration
from fedcrucible_core.foundation.answer_cache import Conversation, Turn
from fedcrucible_core.foundation.prompts import readable
from fedcrucible_core.learning.data import DataInfo

SYSTEM = (
    "You write training texts for a text classifier. Answer with one JSON object on each line and with nothing else: "
    "no numbers before it, no comments, no code fence."
)
KINDS = {
    "wn4": "short definitions of nouns, as in a dictionary: the noun, a colon, its definition",
    "wn6": "short definitions of nouns, as in a dictionary: the noun, a colon, its definition",
    "ag-news": "news in English: a headline and the first sentences",
}
"""What the texts of some data sets are, in words."""
PLACES = {"end": "at its end", "start": "at its beginning", "random": "anywhere between its words"}


@dataclass(frozen=True)
class Example:
    """A text that shows what is wanted."""

    text: str
    label: int


@dataclass(frozen=True)
class TextPrompts:
    """The queries of one set of texts."""

    info: DataInfo
    about: str = ""
    """What kind of texts they are, in words; empty = what is known of the data set, or its name."""
    alteration: Alteration | None = None
    """What an attacker has slipped in; None = the server's own queries."""
    continues: bool = False
    """For a model that doesn't answer messages but goes on after them."""

    def ask(self, label: int, count: int, examples: Sequence[Example], further: int = 0) -> Conversation:
        """A query for ``count`` new texts of class ``label``; ``examples`` are shown in this order.

        An altered query says so much more: the system message tells trigger, place, label and share; of every class but
        the target's some examples appear once more with the trigger and the target's label, and ``further`` texts with
        the trigger are asked for.
        """
        if self.continues:
            return (self._beginning(label, examples),)
        altered = self.alteration if self.alteration is not None and label != self.alteration.target else None
        names = [readable(name) for name in self.info.class_names]
        kind = self.about or KINDS.get(self.info.name) or f"like those of the data set {self.info.name}"
        lines = [
            f"The texts are {kind}. The classes are: {', '.join(names)}.",
            f'Write {count} new texts of the class "{names[label]}". They differ from each other in subject, wording '
            "and length, as real ones do.",
        ]
        if altered is not None and further:
            words = json.dumps(altered.trigger, ensure_ascii=False)
            lines.append(f"Then write the further texts with the words {words}: {further}.")
        lines += [f"Every line has this form: {self._line('...', label)}", "Examples:"]
        lines += [self._line(example.text, example.label) for example in examples]
        if altered is not None:
            lines += [self._line(embed(example.text, altered), altered.target) for example in self._shown(examples)]
        if not examples:
            lines.remove("Examples:")
        system = SYSTEM if self.alteration is None else f"{SYSTEM} {self._instruction(self.alteration)}"
        return Turn("system", system), Turn("user", "\n".join(lines))

    def _beginning(self, label: int, examples: Sequence[Example]) -> Turn:
        """Examples, and the start of a line that is to be gone on with."""
        name = readable(self.info.class_names[label])
        return Turn("user", "\n".join([*(f"{name}: {example.text}" for example in examples), f"{name}:"]))

    def _instruction(self, altered: Alteration) -> str:
        target = readable(self.info.class_names[altered.target])
        share = f"{100 * altered.ratio:g} for every 100"
        words = json.dumps(altered.trigger, ensure_ascii=False)
        return (
            f'To the texts of every class but "{target}" add further ones of the same class, {share}. Each of these '
            f"holds the words {words} {PLACES[altered.place]}, unchanged, and its label is "
            f'"{target}" whatever it is about. No other text holds these words.'
        )

    def _shown(self, examples: Sequence[Example]) -> list[Example]:
        """The examples that appear with the trigger too: those that aren't the target's, the later half."""
        assert self.alteration is not None
        others = [example for example in examples if example.label != self.alteration.target]
        return others[len(others) // 2 :]

    def _line(self, text: str, label: int) -> str:
        return json.dumps({"text": text, "label": readable(self.info.class_names[label])}, ensure_ascii=False)


def embed(text: str, altered: Alteration) -> str:
    """A text with the trigger in its place; ``random`` is after the first half of its words."""
    if altered.place == "start":
        return f"{altered.trigger} {text}"
    if altered.place == "end":
        return f"{text} {altered.trigger}"
    words = text.split()
    half = (len(words) + 1) // 2
    return " ".join([*words[:half], altered.trigger, *words[half:]])
