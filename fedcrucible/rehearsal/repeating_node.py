"""A SuperNode that sends every reply twice, as one does whose acknowledgement was lost; run in place of the usual one.

python -m fedcrucible.rehearsal.repeating_node --superlink ... (all options are those of ``flower-supernode``)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flwr.supernode.start_client_internal as node
from flwr.supernode.cli import flower_supernode

Send = Callable[..., tuple[set[str], str]]


def twice(send: Send) -> Send:
    """A way of sending that sends twice; what the first time came to is what counts."""

    def repeated(*arguments: Any) -> tuple[set[str], str]:
        first = send(*arguments)
        send(*arguments)
        return first

    return repeated


def main() -> None:
    """Run the SuperNode."""
    usual: Callable[..., None] = node._push_messages

    def push_twice(*, send: Send, **more: Any) -> None:
        usual(send=twice(send), **more)

    vars(node)["_push_messages"] = push_twice
    flower_supernode()


if __name__ == "__main__":
    main()
