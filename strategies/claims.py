"""What a node says that it is: its partition, its role, whose data it holds."""

from __future__ import annotations

from dataclasses import dataclass

from flwr.app import ConfigRecord, Message, RecordDict

from fedcrucible_core.config.plain_text import plain_text
from strategies.messages import CLIENT
from strategies.replies import InvalidReplyError, received


@dataclass(frozen=True)
class Claim:
    """What a node says that it is, in answer to the partition query."""

    partition: int
    declared_malicious: bool | None = None
    """The role that its configuration fixes; None: the seed decides."""
    own_data: bool = False
    """Whether it trains on images of its own."""


def read_claim(message: Message | Exception | None, clients: int) -> Claim:
    """Check the answer to the partition query completely.

    Raises InvalidReplyError; whatever a node sends, nothing else escapes.
    """
    return received(message, lambda content: _read(content, clients))


def _read(content: RecordDict, clients: int) -> Claim:
    record = content.get(CLIENT)
    if not isinstance(record, ConfigRecord) or "partition-id" not in record:
        raise InvalidReplyError("its answer to the partition query names no partition-id")
    partition: object = record["partition-id"]
    if not isinstance(partition, int) or isinstance(partition, bool) or not 0 <= partition < clients:
        shown = plain_text(partition, 60)
        shown = repr(shown) if isinstance(partition, str) else shown
        raise InvalidReplyError(f"partition {shown}, allowed 0 to {clients - 1}")
    role = record.get("role")
    malicious = {"malicious": True, "benign": False}.get(role) if isinstance(role, str) else None
    return Claim(partition, malicious, record.get("own-data") is True)
