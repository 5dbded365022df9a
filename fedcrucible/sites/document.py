"""JSON files that travel between a site and the server: small, of one declared form, everything else is refused."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from fedcrucible_core.config.atomic_file import write_atomic
from fedcrucible_core.config.errors import ConfigError
from fedcrucible_core.config.plain_text import plain_text

LARGEST = 64 * 1024
"""Bytes of one site's file."""


class Document(BaseModel):
    """Nothing is converted, and no other key may stand in it: what is wrong shows at once."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


Read = TypeVar("Read", bound=Document)


def read_document(path: Path, form: type[Read], key: str, largest: int = LARGEST) -> Read:
    """The document in a file that somebody else may have written.

    Raises:
        ConfigError: (``key``) no such file, no plain file, larger than ``largest`` bytes, no JSON, or of another form.
    """
    content = _content(path, key, largest)
    try:
        found = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, nested or long beyond reason
        raise ConfigError(key, str(path), f"is no JSON file: {plain_text(error) or type(error).__name__}") from None
    try:
        return form.model_validate_json(json.dumps(found))
    except (ValidationError, ValueError, RecursionError) as error:
        raise ConfigError(key, str(path), f"is no {_kind(form)}: {_problem(error)}") from None


def write_document(path: Path, document: Document) -> None:
    """Write a file in one step, for people to read too. Raises OSError."""
    text = json.dumps(document.model_dump(mode="json"), indent=1, ensure_ascii=False)
    write_atomic(path, f"{text}\n".encode())


def _content(path: Path, key: str, largest: int) -> bytes:
    """All bytes of a plain file; a device or a pipe would never end."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(handle, "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise ConfigError(key, str(path), "is no plain file")
            content = stream.read(largest + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(key, str(path), f"can't be read: {reason}") from None
    if len(content) > largest:
        raise ConfigError(key, str(path), f"is larger than {largest // 1024} KiB, more than such a file ever is")
    return content


def _kind(form: type[Document]) -> str:
    return plain_text((form.__doc__ or form.__name__).split("\n")[0].rstrip(".").lower())


def _problem(error: Exception) -> str:
    """The first thing that is wrong, by the name of its entry; values aren't repeated, for they may be megabytes."""
    if not isinstance(error, ValidationError):
        return plain_text(error) or type(error).__name__
    problems = error.errors(include_url=False, include_input=False)
    place = ".".join(plain_text(part, 40) for part in problems[0]["loc"])
    said = plain_text(problems[0]["msg"].removeprefix("Value error, "))
    more = f" ({len(problems) - 1} more after this one)" if len(problems) > 1 else ""
    return f"{place}: {said}{more}" if place else f"{said}{more}"
