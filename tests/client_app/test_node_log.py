"""What a node logs for programs: JSON lines with run, round and node, on nodes of their own alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flwr.app import Context, Message, MessageType, RecordDict

from client_app.app import app
from fedcrucible_core.config.json_log import ENV
from fedcrucible_core.config.load import flatten, load
from fedcrucible_core.learning.weights import Weights
from server_app.plan import Plan
from strategies.messages import train_content
from tests.support.tiny_runs import play, settings


def _lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def _train(node: dict[str, Any]) -> None:
    plan = Plan.make(load(settings(model__name="logistic")))
    content = train_content(Weights.of(plan.model()), 3, 5, plan.data.info)
    message = Message(content=content, message_type=MessageType.TRAIN, dst_node_id=77)
    message.metadata.__dict__["_message_id"] = "m"
    app(message, Context(4711, 77, node, RecordDict(), dict(flatten(plan.config))))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setenv(ENV, "json")
    monkeypatch.delitem(sys.modules, "ray", raising=False)


def test_a_node_tells_what_it_was_asked_and_what_it_answered(asked: None, capsys: pytest.CaptureFixture[str]) -> None:
    _train({"partition-id": 2})
    received, answered = _lines(capsys.readouterr().out)
    for line in (received, answered):
        assert (line["flower_run"], line["round"], line["node"], line["partition"]) == (4711, 3, "77", 2)
        assert (line["level"], line["kind"]) == ("INFO", "train")
    assert (received["event"], answered["event"]) == ("received", "answered")
    assert answered["num_examples"] == 40
    assert answered["seconds"] > 0.0
    assert {"time", "run", "message", "train_loss"} <= set(answered)


def test_it_tells_why_it_failed_in_one_line(asked: None, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Exception, match="role"):
        _train({"partition-id": 2, "role": "\x1b[31mspy\n{}"})
    *_, failed = _lines(capsys.readouterr().out)
    assert (failed["level"], failed["event"], failed["round"]) == ("ERROR", "failed", 3)
    assert "allowed: benign, malicious, by-seed" in failed["message"]
    assert failed["message"].isprintable()


def test_without_being_asked_a_node_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    _train({"partition-id": 2})
    assert capsys.readouterr().out == ""


def test_clients_of_the_servers_own_process_are_told_of_by_the_server(
    asked: None, runs_folder: None, capsys: pytest.CaptureFixture[str]
) -> None:
    play(model__name="logistic", run__rounds=1)
    told = _lines(capsys.readouterr().out)
    assert told
    assert not {"received", "answered"} & {line["event"] for line in told}
