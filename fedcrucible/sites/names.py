"""What a site may be called: a name that is safe as a file's name, in a shell and on a screen."""

from __future__ import annotations

import re

from fedcrucible_core.config.errors import ConfigError

PATTERN = r"[a-z][a-z0-9-]{0,38}[a-z0-9]"
"""A letter first: a name of digits alone would read as a node's id in ``federation.node_partitions``."""
ALLOWED = "2 to 40 small letters, digits and hyphens, a letter first, no hyphen last, e.g. hospital-a"


def site_name(text: str, key: str = "site") -> str:
    """``text`` where it is a site's name. Raises ConfigError."""
    if re.fullmatch(PATTERN, text) is None:
        raise ConfigError(key, text, f"allowed: {ALLOWED}")
    return text
