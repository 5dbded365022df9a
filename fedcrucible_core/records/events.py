"""events.jsonl: what a run is made of and what befell it, each line chained to the last by SHA-256.

A line is one JSON object.  ``previous`` is the hash of the line before (64 zeros in the first); ``sha256``, always its
last member, is the hash of the line without that member, so it covers ``previous`` and with it all earlier lines.
Whoever can write the file can write a new chain: only a head (the last line's hash) that was kept elsewhere rules that
out.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fedcrucible_core.config.plain_json import plain_json
from fedcrucible_core.config.plain_text import plain_text
from fedcrucible_core.records import files

GENESIS = "0" * 64
"""What the first line names as the hash of the line before."""
LONGEST_TEXT = 2000
"""Characters of a text in an event that are kept."""
_SEALED = re.compile(rb'(?s)(\{.*),"sha256":"([0-9a-f]{64})"\}')


@dataclass(frozen=True)
class Event:
    """One whole line."""

    number: int
    """Place in the file, from 0."""
    utc: str
    kind: str
    """start, resume, nodes, round, note, end, failed."""
    facts: Mapping[str, Any]
    sha256: str


@dataclass(frozen=True)
class Chain:
    """The lines of an events.jsonl as far as they are whole and chained."""

    events: tuple[Event, ...]
    lines: int
    """Complete lines in the file, broken ones included."""
    fault: str = ""
    """What is wrong with the first broken line, by its number from 1; empty for none."""
    torn: bool = False
    """Whether a last line without line end follows: its writer was killed while it wrote, and it counts for nothing."""

    @property
    def head(self) -> str:
        """Hash of the last whole line: it stands for all of them."""
        return self.events[-1].sha256 if self.events else GENESIS


def read_chain(path: Path) -> Chain:
    """Read and check a chain; of no file an empty one. Raises OSError for a file that can't be read."""
    if not path.is_file():
        return Chain((), 0)
    *lines, rest = path.read_bytes().split(b"\n")
    events: list[Event] = []
    previous = GENESIS
    for number, line in enumerate(lines):
        try:
            event = _event(line, number, previous)
        except ValueError as error:
            return Chain(tuple(events), len(lines), f"line {number + 1} {error}", bool(rest))
        events.append(event)
        previous = event.sha256
    return Chain(tuple(events), len(lines), torn=bool(rest))


class EventWriter:
    """Appends events to a file, for its only writer; goes on from what is there.

    A torn last line is cut off with the first event that is appended.  Behind a broken line the chain goes on from the
    last line as it stands: a reader still finds the broken one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.before = read_chain(path)
        self.lines = self.before.lines
        self.head = self.before.head if not self.before.fault else _last_hash(path)

    def append(self, kind: str, facts: Mapping[str, Any]) -> str:
        """Write one event and bring it to the disk; returns its hash. Raises OSError that names the file."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        told = plain_json(facts, LONGEST_TEXT)
        body: dict[str, Any] = {"number": self.lines, "utc": now, "event": kind, "facts": told}
        sealed = json.dumps({**body, "previous": self.head}, separators=(",", ":"), allow_nan=False)
        digest = hashlib.sha256(sealed.encode()).hexdigest()
        files.append_line(self.path, f'{sealed[:-1]},"sha256":"{digest}"}}'.encode())
        self.lines += 1
        self.head = digest
        return digest


def _event(line: bytes, number: int, previous: str) -> Event:
    """Check one line. Raises ValueError that says what is wrong with it, as the rest of a sentence."""
    found = _SEALED.fullmatch(line)
    if found is None:
        raise ValueError("is no event: it doesn't end in its SHA-256")
    body, digest = found[1] + b"}", found[2].decode()
    if hashlib.sha256(body).hexdigest() != digest:
        raise ValueError("was changed: its SHA-256 is another one")
    try:
        parsed = json.loads(body)
        event = Event(parsed["number"], parsed["utc"], parsed["event"], parsed["facts"], digest)
        named = parsed["previous"]
    except (ValueError, RecursionError, KeyError, TypeError):
        raise ValueError("is no event: it isn't the JSON object that it should be") from None
    if named != previous or event.number != number:
        raise ValueError("doesn't follow the line before it: a line was removed, added, moved or replaced")
    if not isinstance(event.facts, dict) or not isinstance(event.kind, str):
        raise ValueError("is no event: it has no kind or no facts")
    return event


def _last_hash(path: Path) -> str:
    """The hash that the last complete line names; of one that names none its own."""
    line = path.read_bytes().split(b"\n")[-2]
    found = _SEALED.fullmatch(line)
    return found[2].decode() if found else hashlib.sha256(line).hexdigest()


def node_names(path: Path) -> dict[int, str]:
    """What the nodes of the clients are called, by the last event that says so."""
    names: dict[int, str] = {}
    for event in read_chain(path).events:
        for client, node in event.facts.items() if event.kind == "nodes" else ():
            if client.isdigit() and isinstance(node, dict):
                names[int(client)] = plain_text(node.get("name") or node.get("key") or node.get("node") or "", 40)
    return names
