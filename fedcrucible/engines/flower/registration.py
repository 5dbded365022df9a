"""Making a SuperLink know its SuperNodes' public keys, which it must before a node first connects."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fedcrucible.engines.flower.command import CONNECTION, FlowerRunError
from fedcrucible.engines.flower.submission import Submission

_KNOWN = "public key already in use"
_PARALLEL = 4
"""Each registration is a ``flwr`` process of some seconds."""


def register(submission: Submission, nodes: Mapping[str, Path]) -> list[str]:
    """Register public keys by the name of their nodes; returns the names that the SuperLink did not know yet.

    Safe to repeat: a key that is registered stays what it is. Raises FlowerRunError.
    """

    def one(name: str) -> bool:
        try:
            submission.command("supernode", "register", str(nodes[name]), CONNECTION, "--name", name)
        except FlowerRunError as error:
            if _KNOWN in " ".join(str(error).lower().split()):
                return False
            raise
        return True

    with ThreadPoolExecutor(max_workers=_PARALLEL) as pool:
        return [name for name, new in zip(nodes, pool.map(one, nodes), strict=True) if new]
