"""Nodes that come, leave, restart, keep silent, answer nonsense or want another's partition, while a run goes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict

from fedcrucible_core.records.reader import read
from server_app.plan import Plan
from server_app.run import execute
from strategies.exchange import exchange
from strategies.messages import CLIENT, query_message
from tests.support.node_grid import NodeGrid, node, silent


@pytest.fixture
def no_sleep(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From its call on, whoever sleeps fails."""

    def forbid(seconds: float) -> None:
        raise AssertionError(f"a round waited {seconds} s for a node that says nothing")

    return lambda: monkeypatch.setattr(time, "sleep", forbid)


def held(directory: object, grid: NodeGrid) -> dict[int, int]:
    """Partition to number of the node that has it now."""
    return {n.partition: n.node_id - 2 for n in directory.refresh(grid)}  # type: ignore[attr-defined]


class TestSilence:
    def test_no_round_waits_for_a_silent_node(self, no_sleep: Callable[[], None]) -> None:
        grid = NodeGrid(3)
        grid.answers[2] = silent
        directory = grid.directory()
        directory.wait(grid)
        assert directory.news() == [
            "2 of 3 clients take part: no usable node is online for partition 2",
            "node 4 is not used: has not answered the partition query",
        ]
        no_sleep()
        for _ in range(3):
            assert held(directory, grid) == {0: 0, 1: 1}
        assert directory.news() == [], "said once"
        assert grid.asked.count((2, "query")) == 1, "one question stays open"

    def test_a_silent_newcomer_is_named(self, no_sleep: Callable[[], None]) -> None:
        grid = NodeGrid(3)
        grid.online, grid.answers[2] = {0, 1}, silent
        directory = grid.directory()
        directory.wait(grid)
        directory.news()
        no_sleep()
        grid.online.add(2)
        directory.refresh(grid)
        assert directory.news() == [], "it has only just been asked"
        directory.refresh(grid)
        assert directory.news() == ["node 4 is not used: has not answered the partition query"]

    def test_it_is_asked_again_after_longer_and_longer_pauses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        grid = NodeGrid(3)
        grid.answers[2] = silent
        directory = grid.directory()
        directory.wait(grid)
        start, times = time.monotonic(), []
        for second in range(0, 1000, 10):
            monkeypatch.setattr(time, "monotonic", lambda second=second: start + second)
            before = grid.asked.count((2, "query"))
            directory.refresh(grid)
            times += [second] * (grid.asked.count((2, "query")) - before)
        assert times == [60, 180, 420, 900]

    def test_a_late_answer_counts(self) -> None:
        late: list[Message] = []

        class Late(NodeGrid):
            def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
                found = list(super().pull_messages(message_ids))
                kept = [m for m in found if m.metadata.src_node_id != node(2)]
                late.extend(m for m in found if m.metadata.src_node_id == node(2))
                return kept

        grid = Late(3)
        directory = grid.directory()
        directory.wait(grid)
        directory.news()
        assert held(directory, grid) == {0: 0, 1: 1}
        (answer,) = late
        grid._replies[answer.metadata.reply_to_message_id] = answer
        Late.pull_messages = NodeGrid.pull_messages  # type: ignore[method-assign]
        assert held(directory, grid) == {0: 0, 1: 1, 2: 2}
        assert directory.news() == ["online from now on: client 2"]
        assert grid.asked.count((2, "query")) == 1

    def test_a_reply_whose_parts_are_withheld_holds_up_nobody(self) -> None:
        release = threading.Event()

        class Withheld(NodeGrid):
            def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
                found = list(super().pull_messages(message_ids))
                if any(m.metadata.src_node_id == node(0) for m in found):
                    release.wait(20)
                return found

        grid = Withheld(3)
        try:
            directory = grid.directory()
            directory.wait(grid)
            assert not release.is_set()
            assert held(directory, grid) == {1: 1, 2: 2}
            messages = [query_message(node(n)) for n in range(3)]
            answers = exchange(grid, messages, 0.2, 0.01, one_by_one=True)
            assert sorted(answers) == [node(1), node(2)]
        finally:
            release.set()


class TestErrors:
    def test_a_node_that_failed_is_asked_again_and_its_last_cause_is_told(self) -> None:
        causes = iter(["first", "second"])

        def fail(content: RecordDict) -> RecordDict:
            cause = next(causes, None)
            if cause:
                raise RuntimeError(f"\x1b[2J{cause}")
            return content

        grid = NodeGrid(3, federation__wait_for_clients_s=0.0)
        grid.answers[2] = fail
        directory = grid.directory()
        directory.wait(grid)
        assert directory.news()[1:] == ["node 4 is not used: error 2: RuntimeError: \ufffd[2Jfirst"]
        for expected in (
            ["node 4 is not used: error 2: RuntimeError: \ufffd[2Jsecond"],
            ["online from now on: client 2"],
        ):
            time.sleep(0.05)
            directory.refresh(grid)
            assert directory.news() == expected

    @pytest.mark.parametrize(
        ("answer", "cause"),
        [
            (RecordDict(), "names no partition-id"),
            (RecordDict({CLIENT: ArrayRecord({})}), "names no partition-id"),
            (RecordDict({CLIENT: ConfigRecord({"role": "benign"})}), "names no partition-id"),
            (RecordDict({CLIENT: ConfigRecord({"partition-id": 1.0})}), "partition 1.0, allowed 0 to 2"),
            (RecordDict({CLIENT: ConfigRecord({"partition-id": True})}), "partition True, allowed 0 to 2"),
            (RecordDict({CLIENT: ConfigRecord({"partition-id": [1]})}), "partition [1], allowed 0 to 2"),
            (RecordDict({CLIENT: ConfigRecord({"partition-id": b"\x00"})}), "allowed 0 to 2"),
            (RecordDict({CLIENT: ConfigRecord({"partition-id": 10**5000})}), "allowed 0 to 2"),
            (RecordDict({CLIENT: ConfigRecord({"partition-id": -(2**63)})}), "partition -9223372036854775808, allowed"),
            (RecordDict({CLIENT: ConfigRecord({"partition-id": "\x1b]0;x\n" * 1_500_000})}), "allowed 0 to 2"),
        ],
        ids=["empty", "arrays", "no id", "float", "bool", "list", "bytes", "giant", "negative", "10 MB"],
    )
    def test_nonsense_is_refused_in_one_short_line(self, answer: RecordDict, cause: str) -> None:
        grid = NodeGrid(3)
        grid.answers[2] = lambda _: answer
        directory = grid.directory()
        directory.wait(grid)
        (note,) = directory.news()[1:]
        assert note.startswith("node 4 is not used: ")
        assert cause in note
        assert note.isprintable()
        assert len(note) < 250

    @pytest.mark.parametrize("role", ["\x1b[31m", 7, "x" * 10**6, ["malicious"]])
    def test_a_nonsense_role_decides_nothing(self, role: object) -> None:
        grid = NodeGrid(3)
        grid.answers[2] = lambda _: RecordDict({CLIENT: ConfigRecord({"partition-id": 2, "role": role})})  # type: ignore[dict-item]
        directory = grid.directory()
        directory.wait(grid)
        assert directory.by_partition[2].declared_malicious is None
        assert directory.news() == []

    def test_an_answer_that_cant_be_decoded_spoils_no_other(self) -> None:
        class Broken(NodeGrid):
            def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
                ids = list(message_ids)
                for reply in [self._replies.get(i) for i in ids]:
                    if reply is not None and reply.metadata.src_node_id == node(0):
                        raise ValueError("bad bytes \x07")
                return super().pull_messages(ids)

        grid = Broken(3)
        directory = grid.directory()
        directory.wait(grid)
        assert held(directory, grid) == {1: 1, 2: 2}
        assert directory.news()[1] == "node 2 is not used: could not be fetched: ValueError: bad bytes \ufffd"


class TestSquatters:
    def test_a_note_names_both(self) -> None:
        grid = NodeGrid(3, {2: {"partition-id": 0}})
        directory = grid.directory()
        directory.wait(grid)
        assert held(directory, grid) == {0: 0, 1: 1}
        (note,) = directory.news()[1:]
        assert note.startswith("node 4 is not used: partition 0 is already held by node 2: both claim it")

    def test_at_the_start_the_first_registered_holds(self) -> None:
        grid = NodeGrid(3, {2: {"partition-id": 0}})
        grid.infos = {0: {"registered_at": "2026-02-02"}, 2: {"registered_at": "2026-01-01"}}
        directory = grid.directory()
        directory.wait(grid)
        assert held(directory, grid) == {0: 2, 1: 1}

    def test_a_newcomer_takes_over_only_while_the_holder_is_offline(self) -> None:
        grid = NodeGrid(4, {3: {"partition-id": 0}})
        grid.infos = {3: {"registered_at": "0", "name": "spare\x1b"}}
        grid.online = {0, 1, 2}
        directory = grid.directory()
        directory.wait(grid)
        grid.online.add(3)
        assert held(directory, grid) == {0: 0, 1: 1, 2: 2}, "registered first, but it came later"
        assert directory.news()[0].startswith("node 5 (spare\ufffd) is not used: partition 0 is already held by node 2")
        grid.online.discard(0)
        assert held(directory, grid) == {0: 3, 1: 1, 2: 2}
        assert directory.news() == ["partition 0: node 5 (spare\ufffd) takes the place of node 2"]
        grid.online.add(0)
        assert held(directory, grid) == {0: 0, 1: 1, 2: 2}, "the older claim is back"
        assert directory.news()[0] == "partition 0: node 2 takes the place of node 5 (spare\ufffd)"

    def test_a_holder_that_leaves_is_missed_until_it_is_back(self) -> None:
        grid = NodeGrid(3)
        directory = grid.directory()
        directory.wait(grid)
        assert directory.news() == []
        for online, note in (
            ({0}, "not online any more: clients 1, 2"),
            ({0, 1, 2}, "online from now on: clients 1, 2"),
        ):
            grid.online = online
            assert sorted(held(directory, grid)) == sorted(online)
            assert directory.news() == [note]

    def test_a_restarted_node_is_asked_anew(self) -> None:
        grid = NodeGrid(3, {2: {"partition-id": 7}})
        directory = grid.directory()
        directory.wait(grid)
        assert directory.news()[1] == "node 4 is not used: partition 7, allowed 0 to 2"
        grid.node_configs[2] = {"partition-id": 2}
        grid.infos[2] = {"last_activated_at": "later"}
        assert held(directory, grid) == {0: 0, 1: 1, 2: 2}
        grid.node_configs[0] = {"partition-id": 2}
        grid.infos[0] = {"last_activated_at": "later"}
        assert held(directory, grid) == {1: 1, 2: 2}, "it claims another partition now, after its holder"


def test_late_joiners_take_part_from_the_round_after_they_came(runs_folder: Path) -> None:
    class Late(NodeGrid):
        def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
            batch = list(messages)
            if any(m.metadata.message_type == "train" for m in batch):
                self.online.add(2)
            return super().push_messages(batch)

    grid = Late(3, run__rounds=3)
    grid.online.discard(2)
    summary = execute(Plan.make(grid.config), grid, in_order=False)
    rounds = read(Path(summary.folder)).rounds
    assert [r.participants for r in rounds] == [(), (0, 1), (0, 1, 2), (0, 1, 2)]
    assert rounds[2].notes == ("online from now on: client 2",)


def test_a_round_in_which_all_have_left_keeps_the_model(runs_folder: Path) -> None:
    class Leaving(NodeGrid):
        def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
            batch = list(messages)
            ids = super().push_messages(batch)
            if any(m.metadata.message_type == "train" for m in batch):
                self.online.clear()
            return ids

    grid = Leaving(3, run__rounds=2)
    summary = execute(Plan.make(grid.config), grid, in_order=False)
    last = read(Path(summary.folder)).rounds[-1]
    assert last.participants == ()
    assert last.notes == ("0 valid replies, 2 needed: the model was kept", "not online any more: clients 0 to 2")
