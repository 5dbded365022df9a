"""Text that somebody else chose, made safe to show: on a terminal, in a log, in a record, on a page."""

from __future__ import annotations

import re
import unicodedata

LONGEST = 200
"""Characters that are kept unless the caller says otherwise."""
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_UNSEEN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
"""Unicode categories that move the cursor, reverse or hide text, break lines, or can't be encoded."""
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def plain_text(value: object, limit: int = LONGEST) -> str:
    """``value`` as one line of visible characters, at most ``limit`` of them.

    White space becomes one blank; every other character that is not shown as itself (escape sequences, bidirectional
    marks, zero-width characters, lone surrogates) becomes U+FFFD.  An object whose ``str`` fails is named by its type.
    """
    text = _spoken(value)
    line = " ".join(text[: 8 * limit + 64].split())  # cut first: the sender may have sent megabytes
    return _cut(visible(line), limit)


def first_line(error: BaseException, limit: int = 1000) -> str:
    """The first line of an exception's text as plain text; its type's name where that is empty."""
    return plain_text(_spoken(error).strip().partition("\n")[0], limit) or plain_text(_name(error))


def plain_repr(value: object, limit: int = 60) -> str:
    """``repr`` of a value as plain text; texts and sequences are cut before, for ``repr`` may multiply their length."""
    kept = value[: limit + 1] if type(value) in (str, bytes, list, tuple) else value  # type: ignore[index]
    try:
        text = repr(kept)
    except KeyboardInterrupt:
        raise
    except BaseException:
        text = _unspeakable(value)
    return plain_text(text, limit) if "\n" in text else _cut(visible(text[: limit + 1]), limit)


def error_text(error: BaseException, limit: int = LONGEST) -> str:
    """``TypeName: message`` of an exception as plain text; the type's name alone where there is no message."""
    name, said = plain_text(_name(error)), plain_text(error, limit)
    return _cut(f"{name}: {said}" if said else name, limit)


def uncoloured(text: str) -> str:
    """``text`` without the escape sequences that colour it."""
    return _COLOUR.sub("", text)


def visible(text: str) -> str:
    """``text`` with every character that is not shown as itself, line ends included, as U+FFFD; blanks stay."""
    if text.isprintable():
        return text
    return "".join(REPLACEMENT if unicodedata.category(c) in _UNSEEN else c for c in text)


def visible_lines(text: str) -> str:
    """Several lines, each of them ``visible``: only ``\\n`` ends a line; a tab is four blanks."""
    return "\n".join(visible(line.removesuffix("\r").replace("\t", "    ")) for line in text.split("\n"))


def _spoken(value: object) -> str:
    if type(value) is str:
        return value
    try:
        return str.__getitem__(str(value), slice(None))  # a text of a type of its own may answer as it likes
    except KeyboardInterrupt:
        raise
    except BaseException:  # whatever its author thought of, SystemExit included
        return _unspeakable(value)


def _unspeakable(value: object) -> str:
    return f"<{_name(value)} that can't be shown>"


def _name(value: object) -> str:
    name = type.__dict__["__name__"].__get__(type(value))  # what a metaclass says of it doesn't count
    return name if type(name) is str else "object"


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."
