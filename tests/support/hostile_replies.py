"""Replies that a seeded generator spoils in every text and number that a client can choose."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict

PIECES = (
    "\x1b[31m", "\x1b]0;title\x07", "\x1b[2J", "\n", "\r", "\r\n", "\t", "\x00", "\x7f", "\x9b", "\x85",
    "\u202e", "\u2066", "\u200b", "\u200f", "\ufeff", "\u2028", "\u2029", "\ud800", "\udfff", "\ue000",
    "\U000e0041", "\U0010ffff", "\u0378", "WARNING :     round 1: reply of client 0 dropped: malicious",
    "round 9/9  MA 99.00 %", "</script>", "<b>", "{{ x }}", "$x^$", "%s", "%(x)s", "{0}", "猫", "é", "'", '"', "\\",
    " ", "error",
)  # fmt: skip
SPECIAL = (0, -1, 1, 2**63 - 1, -(2**63), True, 1.5, float("nan"), float("inf"), -float("inf"), 1e308, 5e-324)


class TextError(Exception):
    """An exception with a text and a name of somebody's choice."""


class Fuzzer:
    """Draws texts and spoiled replies; the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def text(self) -> str:
        """A text of hostile pieces, mostly short."""
        pieces = self.rng.choices(PIECES, k=self.rng.randint(1, 6))
        return "".join(pieces) * (400 if self.rng.random() < 0.01 else 1)

    def error(self) -> BaseException:
        """An exception whose text, and at times its name, is hostile."""
        name = self.text().replace("\x00", "")
        kinds = (ValueError, RuntimeError, SystemExit, TextError, BaseException)
        kind: type[BaseException] = self.rng.choice(kinds)
        if self.rng.random() < 0.3 and "\ud800" not in name and "\udfff" not in name:
            kind = type(name, (kind,), {})
        return kind(self.text())

    def value(self) -> Any:
        """A value of a ConfigRecord."""
        pick = self.rng.randrange(4)
        if pick == 0:
            return self.text()
        if pick == 1:
            return self.text().encode("utf-8", "surrogatepass")
        if pick == 2:
            return [self.text() for _ in range(self.rng.randint(0, 3))]
        return self.rng.choice(SPECIAL)

    def number(self) -> Any:
        """A value of a MetricRecord."""
        return self.rng.choice([v for v in SPECIAL if v is not True])

    def array(self, true: Array) -> Array:
        """An array that lies in one or several of its fields."""
        dtype, shape, stype, data = true.dtype, true.shape, true.stype, true.data
        for field in self.rng.sample(range(4), self.rng.randint(1, 2)):
            if field == 0:
                dtype = self.text()
            elif field == 1:
                shape = tuple(self.rng.choice((0, -1, 3, 2**62)) for _ in range(self.rng.choice((0, 1, 2, 300))))
            elif field == 2:
                stype = self.text()
            else:
                data = self._bytes(data)
        return Array(dtype, shape, stype, data)

    def spoiled(self, content: RecordDict) -> RecordDict:
        """An honest reply's content with one to three things changed."""
        records = {key: _copied(record) for key, record in content.items()}
        for _ in range(self.rng.randint(1, 3)):
            self.rng.choice(self._deeds())(records)
        return RecordDict(records)

    def message(self, content: RecordDict, request: Message) -> Message | Exception | None:
        """What a server may get in place of a reply: an error, an exception, nothing, or a spoiled reply."""
        pick = self.rng.random()
        if pick < 0.1:
            return Message(Error(self.rng.choice((2, 0, -7)), self.text()), reply_to=request)
        if pick < 0.15:
            found = self.error()
            return found if isinstance(found, Exception) else None
        return Message(self.spoiled(content), reply_to=request)

    def _bytes(self, data: bytes) -> bytes:
        pick = self.rng.randrange(4)
        if pick == 0 or not data:
            return self.text().encode("utf-8", "surrogatepass")
        if pick == 1:
            return data[: self.rng.randrange(len(data) + 1)]
        place = self.rng.randrange(len(data))
        if pick == 2:
            return data[:place] + self.rng.randbytes(3) + data[place + 3 :]
        header = f"{{'descr': '{self.text()}', 'fortran_order': False, 'shape': (3,), }}\n"
        raw = header.encode("latin-1", "replace")
        return b"\x93NUMPY\x01\x00" + len(raw).to_bytes(2, "little") + raw + bytes(12)

    def _deeds(self) -> tuple[Callable[[dict[str, Any]], None], ...]:
        return self._remove, self._add, self._rename, self._arrays, self._arrays, self._metrics, self._client

    def _remove(self, records: dict[str, Any]) -> None:
        if records:
            del records[self.rng.choice(list(records))]

    def _add(self, records: dict[str, Any]) -> None:
        records[self.text()] = ConfigRecord({self.text(): self.value()})

    def _rename(self, records: dict[str, Any]) -> None:
        if records:
            records[self.text()] = records.pop(self.rng.choice(list(records)))

    def _arrays(self, records: dict[str, Any]) -> None:
        for key, record in records.items():
            if isinstance(record, ArrayRecord) and record:
                name = self.rng.choice(list(record))
                changed = dict(record)
                changed[self.text() if self.rng.random() < 0.3 else name] = self.array(record[name])
                records[key] = ArrayRecord(changed)

    def _metrics(self, records: dict[str, Any]) -> None:
        names = ("num-examples", "train-loss", "seconds", self.text())
        kept = records.get("metrics")
        changed = dict(kept) if isinstance(kept, MetricRecord) else {}
        records["metrics"] = MetricRecord({**changed, self.rng.choice(names): self.number()})

    def _client(self, records: dict[str, Any]) -> None:
        records["client"] = ConfigRecord({self.rng.choice(("partition-id", self.text())): self.value()})


def honest_content(parameters: int, buffers: int, partition: int) -> RecordDict:
    """A valid training reply."""
    model = {"parameters": Array(np.ones(parameters, np.float32)), "buffers": Array(np.ones(buffers, np.float32))}
    return RecordDict(
        {
            "model": ArrayRecord(model),
            "metrics": MetricRecord({"num-examples": 5, "train-loss": 0.5, "seconds": 0.1}),
            "client": ConfigRecord({"partition-id": partition}),
        }
    )


def _copied(record: Any) -> Any:
    return type(record)(dict(record))
