"""One client as the server knows it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Node:
    """A client as the server knows it."""

    node_id: int
    partition: int
    declared_malicious: bool | None = None
    """The role a node declares in deployment (ground truth for detection figures); None: the seed decides."""
    own_data: bool = False
    """Whether it says that it trains on images of its own."""
