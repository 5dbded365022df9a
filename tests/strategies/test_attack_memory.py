"""What attackers say that they remember is taken from malicious nodes alone, and only if it is what attacks keep."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, RecordDict

from strategies.attack_memory import ask, give_back, without_memories
from strategies.memory_messages import MEMORY
from strategies.node import Node

NODE = Node(7, 3)


def answering(answer: Callable[[Message], Message | Exception | None]) -> Callable[..., dict[int, Message | Exception]]:
    def send(messages: list[Message]) -> dict[int, Message | Exception]:
        given = {m.metadata.dst_node_id: answer(m) for m in messages}
        return {node: reply for node, reply in given.items() if reply is not None}

    return send


def reply(content: RecordDict) -> Callable[[Message], Message]:
    return lambda message: Message(content, reply_to=message)


def test_a_memory_there_and_back() -> None:
    kept = {"layers": torch.tensor([1, 2]), "round": torch.tensor(4), "model": torch.randn(3)}
    told = RecordDict({MEMORY: ArrayRecord({name: Array(value.numpy()) for name, value in kept.items()})})
    states, problems = ask(answering(reply(told)), [NODE], 1000)
    assert problems == []
    assert list(states) == ["attacker 3"]
    assert all(torch.equal(states["attacker 3"][name], value) for name, value in kept.items())
    received: list[Message] = []

    def take(message: Message) -> Message:
        received.append(message)
        return Message(RecordDict(), reply_to=message)

    assert give_back(answering(take), [NODE], {"rule": {}, **states}) == []
    assert np.array_equal(received[0].content[MEMORY]["model"].numpy(), kept["model"].numpy())
    assert without_memories({"rule": {}, **states}) == {"rule": {}}


def test_nothing_remembered_is_nothing_kept() -> None:
    assert ask(answering(reply(RecordDict({MEMORY: ArrayRecord()}))), [NODE], 1000) == ({}, [])


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda _: None, "no reply in time"),
        (lambda _: OSError("\x1b[31mcable"), "cable"),
        (lambda m: Message(Error(code=2, reason="out of\nmemory"), reply_to=m), "out of memory"),
        (reply(RecordDict()), "not a record"),
        (reply(RecordDict({MEMORY: ConfigRecord({"a": 1})})), "not a record"),
        (reply(RecordDict({MEMORY: ArrayRecord({str(i): Array(np.zeros(1)) for i in range(65)})})), "at most 64"),
        (reply(RecordDict({MEMORY: ArrayRecord({"a": Array(np.zeros(3000))})})), "more than 16000 bytes"),
        (reply(RecordDict({MEMORY: ArrayRecord({"a": Array(np.zeros(2, np.complex128))})})), "complex128"),
        (
            reply(RecordDict({MEMORY: ArrayRecord({"a": Array("float32\n", (1,), "numpy.ndarray", b"x")})})),
            "an array of float32, not",
        ),
        (
            reply(RecordDict({MEMORY: ArrayRecord({"a": Array("float32", (9,), "numpy.ndarray", b"xyz")})})),
            "unreadable",
        ),
    ],
)
def test_any_other_answer_is_said_and_not_kept(answer: Callable[[Message], Message], said: str) -> None:
    states, problems = ask(answering(answer), [NODE], 1000)
    assert states == {}
    assert len(problems) == 1
    assert said in problems[0]
    assert problems[0].isprintable()


def test_who_is_gone_is_said() -> None:
    memory = {"attacker 3": {"a": torch.zeros(1)}, "attacker 5": {"a": torch.zeros(1)}}
    told = give_back(answering(lambda _: None), [NODE], memory)
    assert [t.split(" could")[0] for t in told] == ["attacker 3", "attacker 5"]
