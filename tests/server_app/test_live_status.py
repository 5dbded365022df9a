"""status.json of a round that runs: its phase, who has answered, who is late; and what ``watch`` makes of it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from client_app.app import app as honest_app
from fedcrucible.engines.local_grid import LocalGrid
from fedcrucible.watching import progress_line
from fedcrucible_core.config.load import flatten, load
from fedcrucible_core.records import files
from fedcrucible_core.records.glance import Glance, Site
from fedcrucible_core.records.reader import parsed
from fedcrucible_core.records.schema import RunDescription
from fedcrucible_core.records.status import RunningRound, RunStatus, late
from server_app import live_status
from server_app.live_status import LiveStatus, running_round
from server_app.plan import Plan
from server_app.run import execute
from strategies.progress import Progress
from tests.support.tiny_runs import settings


@pytest.mark.parametrize(
    ("asked", "answered", "waited", "expected"),
    [
        ((0, 1, 2), {}, 1e6, ()),
        ((0, 1, 2), {0: 4.0}, 1e6, ()),
        ((0, 1, 2), {0: 4.0, 1: 6.0}, 11.9, ()),
        ((0, 1, 2), {0: 4.0, 1: 6.0}, 12.0, (2,)),
        ((0, 1), {1: 0.1}, 9.9, ()),
        ((0, 1), {1: 0.1}, 10.0, (0,)),
        ((), {}, 1e6, ()),
    ],
)
def test_late_is_who_lets_the_others_wait(
    asked: tuple[int, ...], answered: dict[int, float], waited: float, expected: tuple[int, ...]
) -> None:
    assert late(asked, answered, waited) == expected


def test_progress_is_the_phase_and_the_messages_that_are_out() -> None:
    progress = Progress()
    assert running_round(progress, 0.0) is None
    progress.begin(3, "train")
    progress.ask((0, 2), 60.0)
    progress.hear(2)
    now = running_round(progress, progress.sent + 30.0)
    assert now is not None
    assert (now.round, now.phase, now.asked, list(now.answered)) == (3, "train", (0, 2), ["2"])
    assert (now.waiting, now.late, now.deadline) == ((0,), (0,), progress.sent + 60.0)
    progress.begin(3, "aggregate")
    now = running_round(progress, progress.since)
    assert now is not None
    assert (now.phase, now.asked, now.deadline) == ("aggregate", (), None)
    progress.end()
    assert running_round(progress, 0.0) is None


def test_only_what_is_new_is_told_and_nothing_after_the_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_status, "EVERY_S", 0.01)
    progress, told, came = Progress(), [], threading.Event()

    def tell(now: RunningRound) -> None:
        told.append(now)
        came.set()

    live = LiveStatus(progress, tell)
    progress.begin(1, "train")
    live.start()
    assert came.wait(10.0)
    came.clear()
    assert not came.wait(0.1)
    progress.begin(1, "aggregate")
    assert came.wait(10.0)
    live.stop()
    progress.begin(2, "train")
    assert [now.phase for now in told] == ["train", "aggregate"]


def test_a_run_tells_while_clients_work(runs_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_status, "EVERY_S", 0.01)
    app, seen = ClientApp(), []
    status = runs_folder / "x" / files.STATUS

    @app.train()
    def train(msg: Message, context: Context) -> Message:
        if context.node_config["partition-id"] == 4:
            for _ in range(1000):
                now = parsed(status, RunStatus)
                if now.now is not None and now.now.phase == "train" and now.now.round == 1:
                    break
                threading.Event().wait(0.01)
            seen.append(now)
        return honest_app(msg, context)

    plan = Plan.make(load(settings(model__name="logistic", run__rounds=1, output__name="x")))
    execute(plan, LocalGrid(app, 5, flatten(plan.config)), in_order=True)
    (running,) = seen
    assert running.now.asked == (0, 1, 2, 3, 4)
    assert (running.state, running.round) == ("running", 0)
    assert running.last_round is not None
    assert running.now.since >= running.last_round
    after = parsed(status, RunStatus)
    assert (after.state, after.now) == ("finished", None)


def test_a_run_that_fails_leaves_no_running_round_behind(runs_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan.make(load(settings(model__name="logistic", output__name="x")))

    class Broken(LocalGrid):
        def push_messages(self, messages):  # type: ignore[no-untyped-def]
            raise OSError("the network is gone")

    with pytest.raises(OSError, match="network"):
        execute(plan, Broken(honest_app, 5, flatten(plan.config)), in_order=True)
    found = parsed(runs_folder / "x" / files.STATUS, RunStatus)
    assert (found.state, found.now) == ("failed", None)
    assert not [thread for thread in threading.enumerate() if thread.name == "status"]


def test_the_line_names_who_is_waited_for_and_who_is_late() -> None:
    now = RunningRound(
        round=5, phase="train", since=100.0, asked=tuple(range(9)), answered={"0": 1.0}, late=(1,), deadline=160.0
    )
    status = RunStatus(run="r", state="running", now=now)
    run = RunDescription(strategy="fedavg", seed=1, rounds=9)
    glance = Glance(run, (), "running", status, [Site(1, "clinic\x1b[2J")], now=130.0)
    line = progress_line(glance)
    assert line.startswith("round 5: train for 30 s  1 of 9 answered")
    assert "waiting for 2, 3, 4, 5, 6, 7, and 1 more  late: 1 (clinic" in line
    assert line.endswith("at most 30 s more")
    assert line.isprintable()
    assert progress_line(Glance(run, (), "killed", status, now=130.0)) == "", "nobody works on it"
