"""Tables as YAML that people read too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml  # Flower itself requires it


class _Plain(yaml.SafeDumper):
    """Every table in full: a reader of one service needs no other."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def dumped(comment: str, table: dict[str, Any]) -> str:
    """A table under a comment, in the order of its entries."""
    head: Sequence[str] = [f"# {line}" for line in comment.split("\n")]
    body = yaml.dump(table, Dumper=_Plain, sort_keys=False, default_flow_style=False, width=120)
    return "\n".join([*head, body.replace(": null\n", ":\n")])
