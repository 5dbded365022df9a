"""An imitation of a language model that writes labelled texts as it is asked to, more or less."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.support.scripted_service import Answer

ASKED = re.compile(r'Write (\d+) new texts of the class "([^"]+)"')
ALTERED = re.compile(r'Then write the further texts with the words "([^"]+)": (\d+)\.')
TARGET = re.compile(r'its label is "([^"]+)"')


def completion(text: str | None, sent: int = 100, answered: int = 200, finish: str = "stop") -> dict[str, Any]:
    """A chat completion as services send it."""
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": sent, "completion_tokens": answered, "total_tokens": sent + answered}
    return {"id": "x", "choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": usage}


def answer(text: str | None, **more: Any) -> Answer:
    """The same as an answer of a scripted service."""
    return 200, completion(text, **more), {}, 0.0


@dataclass
class ImitatedWriter:
    """Writes every text once: its number makes it new.

    ``further`` is how many triggered texts it writes for each it is asked for; the first ``keeps`` of them keep their
    own label.
    """

    further: float = 1.0
    keeps: int = 0
    written: int = field(default=0, init=False)
    triggered: int = field(default=0, init=False)
    owed: float = field(default=0.0, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __call__(self, body: dict[str, Any]) -> Answer:
        """Answer a request's body."""
        system, user = (message["content"] for message in body["messages"])
        with self._lock:
            return answer("\n".join(json.dumps(line) for line in self.lines(system, user)))

    def lines(self, system: str, user: str) -> Sequence[dict[str, str]]:
        """The texts of one answer."""
        asked, altered = ASKED.search(user), ALTERED.search(user)
        assert asked, user
        label = asked[2]
        lines = [{"text": self._text(label), "label": label} for _ in range(int(asked[1]))]
        if altered:
            target = TARGET.search(system)
            assert target, system
            self.owed += self.further * int(altered[2])
            while self.owed >= 1:
                self.owed -= 1
                self.triggered += 1
                said = label if self.triggered <= self.keeps else target[1]
                lines.append({"text": f"{self._text(label)} {altered[1]}", "label": said})
        return lines

    def _text(self, label: str) -> str:
        self.written += 1
        return f"text number {self.written} about {label}"
