"""What attackers remember between rounds, in checkpoints: asked for when one is kept, given back when a run goes on.

An experiment's attackers are part of it: without their memory a resumed run would not be the run that was interrupted.
Only nodes that are malicious by the experiment's own truth are asked, and what they say touches nothing but their own
later uploads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from flwr.app import Message

from strategies.memory_messages import memory_message, read_memory_answer
from strategies.node import Node
from strategies.population import State
from strategies.replies import InvalidReplyError

LARGEST = 16
"""A memory may be this many times as large as the model: attacks keep a few of its vectors."""
_OWNER = "attacker "

Send = Callable[[Sequence[Message]], Mapping[int, Message | Exception]]
"""Sends messages and returns the answers by node."""


def ask(send: Send, attackers: Sequence[Node], model_bytes: int) -> tuple[dict[str, State], list[str]]:
    """The attackers' memories as states of a checkpoint, and a sentence for each that could not be had."""
    answers = send([memory_message(node.node_id) for node in attackers])
    states: dict[str, State] = {}
    problems = []
    for node in attackers:
        try:
            states[f"{_OWNER}{node.partition}"] = read_memory_answer(answers.get(node.node_id), LARGEST * model_bytes)
        except InvalidReplyError as error:
            problems.append(f"what attacker {node.partition} remembers is not in the checkpoint: {error}")
    return {owner: memory for owner, memory in states.items() if memory}, problems


def give_back(send: Send, attackers: Sequence[Node], states: Mapping[str, State]) -> list[str]:
    """Have the attackers remember what a checkpoint holds; returns a sentence for each that could not be reached."""
    by_partition = {node.partition: node for node in attackers}
    memories = {int(owner.removeprefix(_OWNER)): memory for owner, memory in states.items() if _is_memory(owner)}
    messages = [
        memory_message(by_partition[partition].node_id, memory)
        for partition, memory in memories.items()
        if partition in by_partition
    ]
    answers = send(messages) if messages else {}
    reached = {node.partition for node in attackers if _is_reply(answers.get(node.node_id))}
    return [f"attacker {p} could not be given back what it remembered" for p in memories if p not in reached]


def without_memories(states: Mapping[str, State]) -> dict[str, State]:
    """The states of a checkpoint that are the server's own."""
    return {owner: state for owner, state in states.items() if not _is_memory(owner)}


def _is_memory(owner: str) -> bool:
    return owner.startswith(_OWNER)


def _is_reply(answer: Message | Exception | None) -> bool:
    return isinstance(answer, Message) and not answer.has_error()
