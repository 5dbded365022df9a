"""The stage of a rehearsal without processes: nodes of a fake grid that misbehave, die, come and go as planned."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pytest
from flwr.app import Message

from client_app.node_faults import death, timing
from fedcrucible.engines.flower.command import FlowerRunError
from fedcrucible.rehearsal.disk import Disk
from fedcrucible.rehearsal.grammar import Programme
from fedcrucible.rehearsal.stage import ServerEndedError
from fedcrucible_core.config.load import load
from fedcrucible_core.config.plain_text import error_text
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.records.schema import RunSummary
from server_app.console import dropped_lines, round_line
from server_app.plan import Plan
from server_app.run import execute
from strategies.messages import ROUND
from strategies.outcome import Checkpoint, RoundOutcome
from tests.support.node_grid import NodeGrid

TURNED_AWAY = "Access denied: the node is not registered"


class _NodeDiedError(BaseException):
    """In the place of the node's death."""


def _die() -> None:
    raise _NodeDiedError


class _Lines:
    """Observer that says what the console prints."""

    def __init__(self, rounds: int, say: Callable[[str], None]) -> None:
        self.rounds, self.say = rounds, say

    def on_round(self, outcome: RoundOutcome) -> None:
        for line in [*dropped_lines(outcome), round_line(outcome, self.rounds)]:
            self.say(line)

    def on_checkpoint(self, checkpoint: Checkpoint) -> None: ...

    def on_note(self, text: str) -> None: ...


class _Grid(NodeGrid):
    """Nodes that are configured to misbehave; the dead and the late send nothing in time, and one sends all twice."""

    def __init__(self, stage: ImitatedStage, settings: Mapping[str, Scalar]) -> None:
        wrong = {i: stage.programme.node_plan(i) for i in range(stage.programme.nodes)}
        configs = {i: {"rehearsal": words} for i, words in wrong.items() if words}
        super().__init__(stage.programme.nodes, configs, **{k.replace(".", "__"): v for k, v in settings.items()})
        self.stage, self.online = stage, stage.online
        self.held: list[tuple[int, Message]] = []
        self.twice = {placed.site for placed in stage.programme.of("duplicate")}

    def _answer(self, message: Message) -> Message:
        reply = super()._answer(message)
        site = message.metadata.dst_node_id - 2
        if reply.has_error() and "_NodeDiedError" in str(reply.error.reason):
            self.stage.online.discard(site)
            self.stage.dead.add(site)
        return reply

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        found = [m for m in super().pull_messages(message_ids) if not self._missing(m)]
        late = [m for when, m in self.held if when != self._round]  # nothing of this round is answered by them
        again = [m for m in found if m.metadata.src_node_id - 2 in self.twice]
        return [*late, *found, *again]

    def _missing(self, reply: Message) -> bool:
        if reply.has_error():
            return "_NodeDiedError" in str(reply.error.reason)
        if reply.metadata.message_type != "train":
            return False
        held = reply.metadata.src_node_id - 2 in self.stage.slow.get(self._round, ())
        if held:
            self.held.append((self._round, reply))
        return held

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        batch = list(messages)
        self._round = next((int(m.content[ROUND]["round"]) for m in batch if ROUND in m.content), 0)  # type: ignore[arg-type, call-overload, index]
        return super().push_messages(batch)


class ImitatedStage:
    """What ``fedcrucible/rehearsal/stage.py`` is to a conductor, in this process."""

    def __init__(self, programme: Programme, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.programme = programme
        self.disk = Disk(folder, mounted=False)
        self.full = False
        self.stranger, self.stranger_key = None, "SHA256:stranger"
        self.supernodes: dict[int, None] = {}
        self.online = set(range(programme.nodes)) - programme.latecomers
        self.slow: dict[int, set[int]] = {}
        for placed in (*programme.of("late"), *programme.of("revoked")):
            self.slow.setdefault(placed.round or 0, set()).add(placed.site if placed.site is not None else -1)
        self.revoked: set[int] = set()
        self.dead: set[int] = set()
        self.room = True
        self._sync = os.fsync
        monkeypatch.setattr(death, "end_node", _die)
        monkeypatch.setattr(timing, "BEYOND_S", -0.2)
        monkeypatch.setattr(os, "fsync", self._fsync)

    def run(
        self, settings: Mapping[str, Scalar], on_line: Callable[[str], None], on_start: Callable[[str], None]
    ) -> RunSummary:
        on_start("1")
        plan = Plan.make(load(settings))
        try:
            return execute(
                plan, _Grid(self, settings), in_order=False, observers=[_Lines(plan.config.run.rounds, on_line)]
            )
        except ServerEndedError:
            raise
        except Exception as error:
            on_line(f"error: {error_text(error, 1000)}")
            raise FlowerRunError("the Flower run ended as finished:failed") from error
        finally:
            self.room = True

    def _fsync(self, handle: int) -> None:
        if not self.room:
            raise OSError(28, "No space left on device")
        self._sync(handle)

    def start_site(self, site: int) -> None:
        self.online.add(site)

    def revoke_site(self, site: int) -> None:
        self.revoked.add(site)

    def kill_server(self) -> None:
        raise ServerEndedError("server process killed")

    def restart_superlink(self) -> None:
        raise ServerEndedError("SuperLink killed")

    def fill_disk(self) -> None:
        self.full, self.room = True, False

    def tick(self, round: int) -> None:
        """Told when a round has ended: whoever was revoked in it is gone now."""
        self.online -= self.revoked

    def begins(self) -> None: ...

    def servers(self) -> list[int]:
        return []

    def died(self) -> frozenset[int]:
        return frozenset(self.dead)

    def last_words(self, process: object, log: str) -> str:
        return TURNED_AWAY
