"""The facts of the server's data set, as every message to a client tells them."""

from __future__ import annotations

from typing import Any

from flwr.app import ConfigRecord, RecordDict

from fedcrucible_core.learning.data import DataInfo

TASK = "task"
"""Name of the record."""


def task_record(info: DataInfo) -> ConfigRecord:
    """The facts of the server's data set that every client's model and labels must agree with."""
    facts: dict[str, str | int | list[str] | list[int] | list[float]] = {
        "name": info.name,
        "class-names": list(info.class_names),
        "shape": list(info.shape),
        "mean": list(info.mean),
        "std": list(info.std),
        "own-names": list(info.own_names),
        "task": info.task,
        "tokenizer": info.tokenizer,
        "reserved": info.reserved,
    }
    return ConfigRecord(dict(facts))


def read_task(content: RecordDict) -> DataInfo | None:
    """The server's facts in a message; None where it tells none."""
    record = content.get(TASK)
    if not isinstance(record, ConfigRecord):
        return None
    facts: Any = dict(record)
    return DataInfo(
        facts["name"],
        tuple(facts["class-names"]),
        tuple(facts["shape"]),
        tuple(facts["mean"]),
        tuple(facts["std"]),
        tuple(facts["own-names"]),
        facts["task"],
        facts["tokenizer"],
        facts["reserved"],
    )
