"""Logs for programs: one JSON object per line, with run, round and node, whatever a site says."""

from __future__ import annotations

import json
import logging

import pytest
from flwr.app import Context, RecordDict
from flwr.common.logger import FLOWER_LOGGER, log

from fedcrucible_core.config.json_log import ENV, LogContext, json_logs, wanted
from fedcrucible_core.config.load import flatten
from server_app.app import main
from strategies.federation import Federation
from tests.support.node_grid import NodeGrid, node

HOSTILE = '"}\n{"level": "INFO", "message": "all is well"}\x1b[2J\u202e'


def lines(text: str) -> list[dict[str, object]]:
    """Every line of a text, each of which must be JSON and printable."""
    assert all(line.isprintable() for line in text.splitlines())
    return [json.loads(line) for line in text.splitlines()]


def played(monkeypatch: pytest.MonkeyPatch, **settings: str | int) -> None:
    grid = NodeGrid(3, model__name="logistic", federation__discovery="query", **settings)
    grid.infos[1] = {"name": f"hospital {HOSTILE}"}
    train = grid.client_app

    def raising(message, context):  # type: ignore[no-untyped-def]
        if context.node_id == node(1) and message.metadata.message_type == "train":
            raise RuntimeError(HOSTILE)
        return train(message, context)

    monkeypatch.setattr(grid, "client_app", raising)
    main(grid, Context(run_id=77, node_id=1, node_config={}, state=RecordDict(), run_config=flatten(grid.config)))


@pytest.mark.usefixtures("runs_folder")
def test_every_line_is_an_object_with_run_round_and_node(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    played(monkeypatch, output__log="json", run__rounds=2)

    found = lines(capfd.readouterr().out)
    assert {(line["run"], line["flower_run"]) for line in found} == {(found[0]["run"], 77)}
    assert len(str(found[0]["run"])) == 16
    rounds = [line for line in found if line["event"] == "round"]
    assert [(line["round"], line["asked"], line["replied"]) for line in rounds] == [(0, 0, 0), (1, 3, 2), (2, 3, 2)]
    dropped = [line for line in found if line["event"] == "dropped"]
    assert [(line["round"], line["client"], line["node"], line["cause"], line["level"]) for line in dropped] == [
        (number, 1, str(node(1)), "client-error", "WARNING") for number in (1, 2)
    ]
    assert str(dropped[0]["node_name"]).startswith("hospital")
    assert found[-1]["event"] == "end"
    assert (found[-1]["round"], found[-1]["status"]) == (2, "partial")
    assert not any("dropped" in str(line["message"]) for line in found if line["event"] == "log"), "told once"


@pytest.mark.usefixtures("runs_folder")
def test_the_environment_asks_for_it_too_and_a_failure_is_a_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> object:
        raise RuntimeError(HOSTILE)

    monkeypatch.setenv(ENV, "json")
    monkeypatch.setattr(Federation, "advance", fail)
    with pytest.raises(RuntimeError):
        played(monkeypatch)

    last = lines(capfd.readouterr().out)[-1]
    assert (last["event"], last["level"], last["round"]) == ("failed", "ERROR", 1)


@pytest.mark.usefixtures("runs_folder")
def test_people_get_lines_of_their_own_unless_asked(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    played(monkeypatch)
    said = capfd.readouterr().out.splitlines()
    assert said[-1].startswith("record: ")
    assert any(line.startswith("round 1: reply of client 1 dropped: error 2:") for line in said)


def test_flowers_logger_is_as_before_afterwards(capsys: pytest.CaptureFixture[str]) -> None:
    before, level = list(FLOWER_LOGGER.handlers), FLOWER_LOGGER.level
    with json_logs(FLOWER_LOGGER, LogContext(run="r", round=3, node="9")):
        log(logging.INFO, "seen %s", HOSTILE)
        try:
            raise ValueError(HOSTILE)
        except ValueError:
            FLOWER_LOGGER.exception("it %s", "broke")
        log(logging.DEBUG, "unseen")
    assert (FLOWER_LOGGER.handlers, FLOWER_LOGGER.level) == (before, level)

    first, second = lines(capsys.readouterr().out)
    assert (first["run"], first["round"], first["node"], first["level"]) == ("r", 3, "9", "INFO")
    assert (second["message"], second["level"]) == ("it broke", "ERROR")
    assert str(second["error"]).startswith("ValueError: ")


def test_who_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENV, raising=False)
    assert (wanted(), wanted("text"), wanted("json")) == (False, False, True)
    monkeypatch.setenv(ENV, " JSON ")
    assert wanted()
