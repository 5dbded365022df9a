"""Text that somebody else chose, made safe to show: on a terminal, in a log, in a record, on a page."""

from __future__ import annotations

import unicodedata

LONGEST = 200
"""Characters that are kept unless the caller says otherwise."""
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_UNSEEN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
"""Unicode categories that move the cursor, reverse or hide text, break lines, or can't be encoded."""


def plain_text(value: object, limit: int = LONGEST) -> str:
    """``value`` as one line of visible characters, at most ``limit`` of them.

    White space becomes one blank; every other character that is not shown as itself (escape sequences, bidirectional
    marks, zero-width characters, lone surrogates) becomes U+FFFD.  An object whose ``str`` fails is named by its type.
    """
    try:
        text = value if type(value) is str else str(value)
    except Exception:
        text = f"<{type(value).__name__} that can't be shown>"
    line = " ".join(text[: 8 * limit + 64].split())  # cut first: the sender may have sent megabytes
    seen = "".join(REPLACEMENT if unicodedata.category(c) in _UNSEEN else c for c in line)
    return seen if len(seen) <= limit else seen[: limit - 3] + "..."
