"""Answers of language models, kept on disk so that nothing is asked, or paid for, twice.

One small JSON file each, written in one step, named by a digest of all that was asked and of which sample it is: the
same request with another sample is another entry. A file that can't be read is a warning and a miss.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedcrucible_core.config.atomic_file import write_atomic
from fedcrucible_core.foundation.cache import digest, warn_unusable
from fedcrucible_core.foundation.chat_budget import Tokens

VERSION = "1"
"""Part of every name: raise it when the same request would be answered in another form."""
MOST_TOKENS = 10**9


@dataclass(frozen=True)
class Turn:
    """One message of a conversation."""

    role: str
    """system, user or assistant."""
    text: str


Conversation = tuple[Turn, ...]


@dataclass(frozen=True)
class Request:
    """A conversation to be answered, and which of its answers is wanted."""

    turns: Conversation
    sample: str
    """Tells repeated requests apart, e.g. ``seed/class/number``."""
    lines: int = 0
    """0 = one answer. Else a model that only continues text goes on so many times; the first line of each counts."""


@dataclass(frozen=True)
class Reply:
    """What a language model answered."""

    text: str
    refused: bool
    """It says itself that it declines; one that declines in words alone is found by whoever reads it."""
    tokens: Tokens


@dataclass(frozen=True)
class AnswerCache:
    """The kept answers of one model under one set of sampling parameters."""

    folder: Path
    model: tuple[str, ...]
    """Everything besides the request that an answer depends on: address, name, temperature, ..."""

    def path(self, request: Request) -> Path:
        """Where the answer to a request is, or would be."""
        turns = [part for turn in request.turns for part in (turn.role, turn.text)]
        which = f"{request.sample} {request.lines}"
        return self.folder / f"{digest(VERSION, *self.model, '|', *turns, '|', which)}.json"

    def read(self, request: Request) -> Reply | None:
        """The kept answer, or None."""
        path = self.path(request)
        if not path.is_file():
            return None
        try:
            content: Any = json.loads(path.read_text(encoding="utf-8"))
            text, refused, sent, answered = (content[key] for key in ("text", "refused", "sent", "answered"))
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            warn_unusable(path, error)
            return None
        if not isinstance(text, str) or not isinstance(refused, bool) or not are_counts((sent, answered)):
            warn_unusable(path, "unexpected content")
            return None
        return Reply(text, refused, Tokens(sent, answered))

    def write(self, request: Request, reply: Reply) -> None:
        """Keep an answer, with what was asked; a folder that can't be written is a warning."""
        content = {
            "text": reply.text,
            "refused": reply.refused,
            "sent": reply.tokens.sent,
            "answered": reply.tokens.answered,
            "asked": [[turn.role, turn.text] for turn in request.turns],
            "sample": request.sample,
        }
        path = self.path(request)
        try:
            write_atomic(path, json.dumps(content).encode("ascii"))
        except OSError as error:
            warnings.warn(f"can't keep the received answer at {path} ({error})", RuntimeWarning, stacklevel=2)


def are_counts(values: Sequence[object]) -> bool:
    """Whether these are plausible numbers of tokens, whoever sent them."""
    return all(type(value) is int and 0 <= value <= MOST_TOKENS for value in values)
