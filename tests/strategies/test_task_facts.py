"""The facts of a data set survive the way to a client, whatever their kind."""

import pytest
from flwr.app import ConfigRecord, RecordDict

from fedcrucible_core.learning.data import DataInfo
from strategies.task_facts import TASK, read_task, task_record

PICTURES = DataInfo("p", ("a", "b"), (3, 4, 5), (0.1, 0.2, 0.3), (1.0, 2.0, 3.0), ("x", "y"))
TEXTS = DataInfo("t", ("a", "b"), (64,), (), (), task="text", tokenizer="wordnet", reserved=16)


@pytest.mark.parametrize("info", [PICTURES, TEXTS])
def test_facts_survive_the_wire(info: DataInfo) -> None:
    assert read_task(RecordDict({TASK: task_record(info)})) == info


def test_no_facts_are_none() -> None:
    assert read_task(RecordDict({"other": ConfigRecord({"a": 1})})) is None
