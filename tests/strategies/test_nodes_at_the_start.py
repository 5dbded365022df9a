"""What happens when nodes are missing or can't be used at the start of a run: told with causes, before round 0."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from flwr.app import Context, RecordDict

from fedcrucible.engines.local_grid import LocalGrid
from fedcrucible_core.config.load import flatten
from fedcrucible_core.records.reader import read
from server_app.app import main
from server_app.plan import Plan
from server_app.run import execute
from strategies.nodes import NodeDirectory, TooFewNodesError
from tests.support.node_grid import NodeGrid, node, silent


def raise_hostile(content: RecordDict) -> RecordDict:
    raise RuntimeError("\x1b[31mno\u202edisk\nerror: everything is fine")


def test_each_nodes_cause_is_named_before_round_0(runs_folder: Path, tmp_path: Path) -> None:
    faults = {
        1: {"partition-id": None},
        2: {"partition-id": "2"},
        3: {"partition-id": -1},
        4: {"partition-id": 10},
        5: {"role": "neither"},
        6: {"data-dir": str(tmp_path / "nowhere")},
        7: {"partition-id": 0},
    }
    grid = NodeGrid(10, faults, federation__clients=10, federation__min_replies=2, task__dataset="fashion-mnist-slice")
    grid.answers = {6: raise_hostile, 8: silent}
    grid.online.discard(9)
    with pytest.raises(TooFewNodesError) as caught:
        execute(Plan.make(grid.config), grid, in_order=False)
    text = str(caught.value)
    assert text.startswith("1 of 10 clients can be used, 2 needed (federation.min_replies)")
    for number, cause in {
        1: "partition-id = None",
        2: "partition-id = '2'",
        3: "partition -1, allowed 0 to 9",
        4: "partition 10, allowed 0 to 9",
        5: "role = 'neither'",
        6: "error: everything is fine",
        7: f"partition 0 is already held by node {node(0)}",
        8: "has not answered the partition query",
    }.items():
        part = next(p for p in text.split("; ") if p.removeprefix("after ").find(f"node {node(number)}: ") >= 0)
        assert cause in part, number
    assert text.endswith("no usable node is online for partitions 1 to 9")
    assert "\n" not in text
    assert text.isprintable()
    assert {kind for _, kind in grid.asked} == {"query"}, "nobody has trained"
    assert not list(runs_folder.iterdir()), "no record of a run that never began"


def test_a_wrong_data_folder_is_the_nodes_cause(tmp_path: Path) -> None:
    grid = NodeGrid(2, {1: {"data-dir": str(tmp_path / "nowhere")}}, federation__clients=2, task__dataset="mnist")
    with pytest.raises(TooFewNodesError, match=r"node 3: error 2: .*ConfigError \(task.dataset\)") as caught:
        grid.directory().wait(grid)
    assert "nowhere" not in str(caught.value)


def test_the_ends_of_the_wait() -> None:
    for seconds, waits in ((0.0, False), (0.3, True)):
        grid = NodeGrid(1, federation__clients=2, federation__wait_for_clients_s=seconds)
        before = time.monotonic()
        with pytest.raises(TooFewNodesError, match=rf"wait_for_clients_s = {seconds:g}: no usable.*partition 1$"):
            grid.directory().wait(grid)
        assert (time.monotonic() - before >= 0.3) == waits
    grid = NodeGrid(2, federation__clients=2, federation__wait_for_clients_s=0.0)
    grid.directory().wait(grid)


def test_the_error_is_printed_and_raised_by_the_app(runs_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid = NodeGrid(1, federation__clients=2)
    context = Context(run_id=1, node_id=1, node_config={}, state=RecordDict(), run_config=flatten(grid.config))
    with pytest.raises(TooFewNodesError):
        main(grid, context)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("error: 1 of 2 clients can be used, 2 needed")


@pytest.mark.parametrize("in_order", [False, True])
def test_who_is_missing_is_noted_and_the_run_goes_on(in_order: bool, runs_folder: Path) -> None:
    grid = NodeGrid(2, federation__clients=4)
    summary = execute(Plan.make(grid.config), grid, in_order=in_order)
    rounds = read(Path(summary.folder)).rounds
    assert rounds[0].notes == ("2 of 4 clients take part: no usable node is online for partitions 2, 3",)
    assert [r.participants for r in rounds] == [(), (0, 1)]
    assert rounds[1].notes == ()


def test_too_few_simulated_nodes_fail_too(runs_folder: Path) -> None:
    grid = NodeGrid(1, federation__clients=2)
    with pytest.raises(TooFewNodesError, match=r"1 of 2 clients.*no usable node is online for partition 1"):
        execute(Plan.make(grid.config), grid, in_order=True)


def test_all_there_is_no_news(runs_folder: Path) -> None:
    grid = NodeGrid(3)
    summary = execute(Plan.make(grid.config), grid, in_order=False)
    assert [r.notes for r in read(Path(summary.folder)).rounds] == [(), ()]
    plain = execute(Plan.make(grid.config), LocalGrid(grid.client_app, 3, flatten(grid.config)), in_order=True)
    assert plain.parameters_sha256 == summary.parameters_sha256


def test_an_order_by_registration_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that leaves hands its partition to nobody who registered later."""
    grid = NodeGrid(4)
    grid.online = {0, 1, 2}
    directory = NodeDirectory(grid.config.federation, in_order=True)
    directory.wait(grid)
    grid.online = {1, 2, 3}
    assert {n.partition: n.node_id for n in directory.refresh(grid)} == {1: node(1), 2: node(2)}
    assert directory.news() == ["2 of 3 clients take part: no usable node is online for partition 0"]
