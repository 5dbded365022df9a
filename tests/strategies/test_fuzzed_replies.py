"""Thousands of spoiled replies: nothing that a client chooses reaches a log, a record or a page as it is."""

from __future__ import annotations

import json
import logging
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.logger import log

from client_app.app import app as honest_app
from fedcrucible.engines.local_grid import LocalGrid
from fedcrucible.progress import Lines
from fedcrucible_core.config.load import flatten, load
from fedcrucible_core.learning.survey import Survey
from server_app.console import Console
from server_app.plan import Plan
from server_app.run import execute
from strategies.messages import MAX_CAUSE, GlobalModel, InvalidReplyError, read_reply, read_survey_answer
from tests.support.hostile_replies import Fuzzer, honest_content
from tests.support.tiny_runs import settings

UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
REPLIES = 20_000


def unseen(text: str) -> list[str]:
    """Characters that have no place in a line."""
    return [] if text.isprintable() else [c for c in text if unicodedata.category(c) in UNSEEN]


def strings(value: Any) -> Iterator[str]:
    """All texts of a JSON value, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield key
            yield from strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from strings(each)


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """Lines of Flower's logger, as a handler prints them."""
    lines: list[str] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    logger, keeper = logging.getLogger("flwr"), Keeper()
    before = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(keeper)
    yield lines
    logger.removeHandler(keeper)
    logger.setLevel(before)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of numpy, about headers that are no Python
def test_no_cause_holds_what_a_client_may_hide_in_it(logged: list[str]) -> None:
    expected = GlobalModel(torch.ones(7), torch.ones(3))
    survey = Survey("output", 4, 2, "votes", "relu")
    answer = RecordDict(
        {
            "survey": ArrayRecord({"answer": Array(torch.tensor([1, 0, 1, 0]).numpy())}),
            "client": ConfigRecord({"partition-id": 3}),
        }
    )
    training = honest_content(7, 3, 3)
    LocalGrid(ClientApp(), 1, {})  # outside Flower's processes messages need one
    request = Message(RecordDict(), dst_node_id=5, message_type="train")
    request.metadata.__dict__["_message_id"] = "1"
    readers: tuple[tuple[RecordDict, Callable[[Any], object]], ...] = (
        (training, lambda message: read_reply(message, 3, expected, 100)),
        (answer, lambda message: read_survey_answer(message, 3, survey)),
    )
    for content, read in readers:
        read(Message(content, reply_to=request))  # the honest ones are valid
    fuzzer, kinds, valid = Fuzzer(8), Counter[str](), 0
    for number in range(REPLIES):
        content, read = readers[number % 4 == 3]
        try:
            read(fuzzer.message(content, request))
            valid += 1
        except InvalidReplyError as cause:
            said = str(cause)
            assert not unseen(said), ascii(said)
            assert 0 < len(said) <= MAX_CAUSE
            kinds[said[:12]] += 1
    assert len(kinds) > 15, "the replies must fail in many ways"
    assert valid < REPLIES / 4
    log(logging.WARNING, "round %d: %s", 1, said)
    assert not unseen(logged[-1])


CLIENTS, ROUNDS, HONEST = 25, 8, 3


def _check_folder(folder: Path) -> None:
    seen = set()
    for path in sorted(folder.rglob("*")):
        if path.suffix not in (".json", ".jsonl", ".html", ".toml"):
            continue
        seen.add(path.name)
        text = path.read_bytes().decode("utf-8")
        assert not unseen(text.replace("\n", "")), (path.name, [ascii(c) for c in set(unseen(text.replace("\n", "")))])
        if path.suffix.startswith(".json"):
            for line in text.splitlines() if path.suffix == ".jsonl" else [text]:
                assert not [s for s in strings(json.loads(line)) if unseen(s)], path.name
    assert {"metrics.jsonl", "run.json", "summary.json", "report.html"} <= seen


def test_no_line_file_or_page_of_a_run_does(
    runs_folder: Path, logged: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    fuzzer, hostile = Fuzzer(9), ClientApp()

    @hostile.train()
    def train(message: Message, context: Context) -> Message:
        place = int(context.node_config["partition-id"])
        if place < HONEST:
            return honest_app(message, context)
        if place % 3 == 0:
            raise fuzzer.error()
        true = honest_content(len(message.content["model"]["parameters"].numpy()), 0, place)
        return fuzzer.message(true, message)  # type: ignore[return-value]

    chosen = {
        "run__rounds": ROUNDS,
        "run__eval_every": ROUNDS,
        "federation__clients": CLIENTS,
        "task__train_samples": CLIENTS * 8,
        "model__name": "logistic",
        "adversary__malicious_fraction": 0.0,
        "output__report": True,
    }
    plan = Plan.make(load(settings(**chosen)))
    display = Lines()
    display.started(ROUNDS)
    grid = LocalGrid(hostile, CLIENTS, flatten(plan.config))
    console = Console(ROUNDS)
    summary = execute(plan, grid, in_order=True, observers=[console, display])
    console.finish(summary)

    assert sum(summary.dropped.values()) > ROUNDS * (CLIENTS - HONEST) / 2
    assert len(logged) >= sum(summary.dropped.values())
    printed = capsys.readouterr()
    for line in (*logged, *printed.out.split("\n"), *printed.err.split("\n")):
        assert not unseen(line), ascii(line)
    assert printed.err.count("\n") <= (ROUNDS + 1) * 6 + len(logged)
    _check_folder(Path(summary.folder))
