"""No error of a node with data of its own tells the server what its files are called or what is in them."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from flwr.app import Context, Message, RecordDict

from client_app.app import app
from client_app.confidential import SiteDataError, TellableError, keep_confidential
from fedcrucible.engines.local_grid import LocalGrid
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.load import flatten, load
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.records import files
from fedcrucible_core.records.reader import read_rounds
from server_app.plan import Plan
from server_app.run import execute
from strategies.nodes import TooFewNodesError
from tests.support.own_pictures import write_folder

SECRET = "mueller-anna-hiv"


def _context(**node: Scalar) -> Context:
    config = {name.replace("_", "-"): value for name, value in node.items()}
    return Context(run_id=1, node_id=1, node_config=config, state=RecordDict(), run_config={})


@pytest.fixture
def msg() -> Message:
    LocalGrid(app, 1, {})  # outside Flower's processes messages need one
    return Message(RecordDict(), 1, "train")


def _plan(folder: Path, **more: Scalar) -> Plan:
    settings: dict[str, Scalar] = {
        "strategy": "fedavg", "run.rounds": 1, "run.device": "cpu", "task.dataset": "folder", "task.image_size": 8,
        "task.data_dir": str(folder), "model.name": "cnn", "federation.clients": 2, "partition.name": "iid",
        "federation.own_data": True,
        "federation.max_examples": 1000, "task.train_samples": 0, "task.test_samples": 0,
        "federation.wait_for_clients_s": 0.0, "attack.name": "none",
        "adversary.malicious_fraction": 0.0, "output.report": False, **more,
    }  # fmt: skip
    return Plan.make(load(settings))


def _spoilt(root: Path, what: str) -> Path:
    """A site's folder in which one thing is wrong, under a telling name."""
    folder = write_folder(root / SECRET, 4)
    classes = sorted(path for path in folder.rglob("*") if path.is_dir() and list(path.glob("*.png")))
    if what == "corrupt picture":  # one is passed over
        (classes[0] / f"{SECRET}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + SECRET.encode())
    elif what == "corrupt pictures":
        for path in folder.rglob("*.png"):
            path.with_name(f"{SECRET}-{path.name}").write_bytes(b"\x89PNG\r\n\x1a\n" + SECRET.encode())
            path.unlink()
    elif what == "class":
        classes[0].rename(classes[0].with_name(SECRET))
    return folder


@pytest.mark.parametrize("what", ["corrupt picture", "corrupt pictures", "class"])
def test_a_telling_name_stays_at_its_site(
    what: str, tmp_path: Path, runs_folder: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    nodes: dict[int, dict[str, Scalar]] = {
        0: {"data-dir": str(write_folder(tmp_path / "good", 4)), "own-data": True},
        1: {"data-dir": str(_spoilt(tmp_path, what)), "own-data": True},
    }
    server = write_folder(tmp_path / "server", 8)
    plan = _plan(server, **{"federation.min_replies": 2})
    if what != "corrupt picture":
        with pytest.raises(TooFewNodesError, match="1 of 2 clients can be used") as caught:
            execute(plan, LocalGrid(app, 2, flatten(plan.config), node_configs=nodes), in_order=False)
        assert SECRET not in str(caught.value)
    plan = _plan(server, **{"federation.own_data": False, "federation.min_replies": 1})
    summary = execute(plan, LocalGrid(app, 2, flatten(plan.config), node_configs=nodes), in_order=True)
    dropped = read_rounds(Path(summary.folder) / files.METRICS)[-1].dropped
    assert list(dropped) == ([] if what == "corrupt picture" else ["1"])
    assert all("this node" in cause for cause in dropped.values())
    for path in Path(summary.folder).rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path
    out, err = capfd.readouterr()
    assert SECRET not in out + err + caplog.text


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError(f"cannot identify image file '/data/{SECRET}.png'"), "ValueError; why stands"),
        (ConfigError("task.label_column", SECRET, f"row 7 holds {SECRET}"), "ConfigError (task.label_column); why"),
        (ConfigError(f"column {SECRET}", 1, ""), "ConfigError; why stands"),
        (FileNotFoundError(2, "No such file", f"/data/{SECRET}"), "FileNotFoundError; why stands"),
        (type(f"X{'y' * 200}", (Exception,), {})(SECRET), "Xyyy"),
    ],
)
def test_only_the_kind_of_an_error_leaves_a_node_with_a_folder(error: Exception, told: str, msg: Message) -> None:
    def fail(_: Message, context: Context) -> Message:
        raise error

    with pytest.raises(SiteDataError) as caught:
        keep_confidential(msg, _context(data_dir="/data"), fail)
    assert told in str(caught.value)
    assert SECRET not in str(caught.value)
    assert len(str(caught.value)) < 250
    assert caught.value.__cause__ is error, "the node's own log has it"
    with pytest.raises(type(error)) as whole:
        keep_confidential(msg, _context(), fail)
    assert whole.value is error, "a node without data of its own has nothing to keep"


def test_what_an_operator_wrote_into_the_node_s_settings_is_told(msg: Message) -> None:
    def fail(_: Message, context: Context) -> Message:
        raise TellableError("node-config role", "neither", "allowed: benign")

    with pytest.raises(TellableError, match="node-config role = 'neither'"):
        keep_confidential(msg, _context(data_dir="/data"), fail)
