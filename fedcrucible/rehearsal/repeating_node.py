"""A SuperNode that sends every reply twice, as one does whose acknowledgement was lost; run in place of the usual one.

python -m fedcrucible.rehearsal.repeating_node --superlink ... (all options are those of ``flower-supernode``)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flwr.supernode.start_client_internal as node
from flwr.supernode.cli import flower_supernode

Send = Callable[..., tuple[set[str], str]]
PushObject = Callable[[int, str, str, bytes], None]


class Twice:
    """A node's ways of sending, which remember what went through them.

    ``send`` announces a reply and is told which of its parts are wanted, and a session; ``push_object`` sends one part.
    """

    def __init__(self, send: Send, push_object: PushObject) -> None:
        self._send, self._push = send, push_object
        self._announced: list[tuple[Any, ...]] = []
        self._parts: dict[str, tuple[int, bytes]] = {}

    def send(self, *reply: Any) -> tuple[set[str], str]:
        """Announce a reply."""
        self._announced.append(reply)
        return self._send(*reply)

    def push_object(self, run: int, session: str, part: str, content: bytes) -> None:
        """Send a part."""
        self._parts[part] = run, content
        self._push(run, session, part, content)

    def again(self) -> None:
        """Announce every reply once more, and send what is wanted of it."""
        for reply in self._announced:
            wanted, session = self._send(*reply)
            for part in wanted & set(self._parts):
                run, content = self._parts[part]
                self._push(run, session, part, content)


def main() -> None:
    """Run the SuperNode."""
    usual: Callable[..., None] = node._push_messages

    def push_twice(*, send: Send, push_object: PushObject, **more: Any) -> None:
        twice = Twice(send, push_object)
        usual(send=twice.send, push_object=twice.push_object, **more)
        try:
            twice.again()
        except Exception as error:  # what the SuperLink makes of it is what is rehearsed
            print(f"the second time: {error}", flush=True)
        else:
            print("sent a second time", flush=True)

    vars(node)["_push_messages"] = push_twice
    flower_supernode()


if __name__ == "__main__":
    main()
