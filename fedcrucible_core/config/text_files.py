"""Text files that users write, with whatever editor."""

from __future__ import annotations

import codecs
from pathlib import Path

_OTHER_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
"""Longer ones first: the mark of UTF-32 begins with that of UTF-16."""


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, with or without a byte-order mark; every line ends in ``\\n``.

    Raises OSError, or ValueError that names the file, the line and what to do where it is in another encoding.
    """
    content = path.read_bytes()
    for mark, name in _OTHER_MARKS:
        if content.startswith(mark):
            raise ValueError(f"{path} is saved as {name}: save it as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{path}, line {line}: byte 0x{content[error.start]:02x} is not UTF-8: save the file as UTF-8"
        ) from None
    if "\0" in text:
        raise ValueError(f"{path} holds zero bytes: it is no text, or UTF-16 without a mark; save it as UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")
