"""Clients that do anything but answer: dropped, counted and shown like any other reply; the run goes on."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from client_app.app import app as honest_app
from fedcrucible.engines.local_grid import LocalGrid
from fedcrucible_core.config.load import flatten, load
from fedcrucible_core.learning.weights import Weights
from fedcrucible_core.records.reader import RecordedRun, read
from server_app.plan import Plan
from server_app.run import execute
from strategies.replies import MAX_CAUSE, InvalidReplyError, Layout, read_reply
from tests.support.tiny_runs import settings

HONEST = 3
Deed = Callable[[Message, Context], Any]


class _MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class _QuitterError(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


class _Meta(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise RuntimeError("no name")


class _NamelessError(Exception, metaclass=_Meta):
    pass


class _Liar(str):
    def __getitem__(self, key: Any) -> str:
        return "\x1b[31m"


class _SpeakerError(Exception):
    def __str__(self) -> str:
        return _Liar("a text of a type of its own")


def _raises(error: BaseException) -> Deed:
    def deed(message: Message, context: Context) -> Any:
        raise error

    return deed


def _recursion(message: Message, context: Context) -> Any:
    return _recursion(message, context)


def _exits(message: Message, context: Context) -> Any:
    sys.exit("bye")


def _another(message: Message, context: Context) -> Any:
    other = Message(RecordDict(), dst_node_id=1, message_type="train")
    return Message(RecordDict(), reply_to=other)


DEEDS: dict[str, tuple[Deed, str]] = {
    "lone surrogate": (_raises(ValueError("lone \ud800")), "ValueError: lone \ufffd"),
    "str raises": (_raises(_MuteError()), "_MuteError"),
    "str exits": (_raises(_QuitterError()), "_QuitterError"),
    "no name": (_raises(_NamelessError("x")), "_NamelessError"),
    "text type": (_raises(_SpeakerError()), "_SpeakerError: a text of a type of its own"),
    "exit": (_exits, "SystemExit: bye"),
    "generator exit": (_raises(GeneratorExit()), "GeneratorExit"),
    "cancelled": (_raises(asyncio.CancelledError("late")), "CancelledError: late"),
    "own base": (_raises(type("\x1b[31mRed\n", (BaseException,), {})("x")), "\ufffd[31mRed: x"),
    "group": (_raises(BaseExceptionGroup("many\u202e", [SystemExit(1), ValueError("\x1b]0;")])), "BaseExceptionGroup"),
    "recursion": (_recursion, "RecursionError"),
    "memory": (_raises(MemoryError()), "MemoryError"),
    "long": (_raises(RuntimeError("x" * 5_000_000)), "x" * 50),
    "escapes": (_raises(RuntimeError("\x1b[2J\x1b]0;title\x07\u202egnp.exe\nround 9/9  MA 100.00 %")), "round 9/9"),
    "none": (lambda message, context: None, "returned a NoneType, not a Message"),
    "a number": (lambda message, context: 7, "returned a int, not a Message"),
    "a generator": (lambda message, context: (x for x in range(0)), "returned a generator, not a Message"),
    "own error": (lambda message, context: Message(Error(2, "\x1b[31mmine\ud800"), reply_to=message), "mine\ufffd"),
    "code": (lambda message, context: Message(Error("\x1b\n", None), reply_to=message), "error"),  # type: ignore[arg-type]
    "another message": (_another, "answered another message"),
}


def _run(deeds: list[Deed], **changes: Any) -> RecordedRun:
    hostile = ClientApp()

    @hostile.train()
    def train(message: Message, context: Context) -> Message:
        place = int(context.node_config["partition-id"]) - HONEST
        if place < 0:
            return honest_app(message, context)
        answer: Message = deeds[place](message, context)
        return answer

    clients = HONEST + len(deeds)
    chosen = {"federation__clients": clients, "adversary__malicious_fraction": 0.0, "run__rounds": 1} | changes
    plan = Plan.make(load(settings(**chosen)))
    summary = execute(plan, LocalGrid(hostile, clients, flatten(plan.config)), in_order=True)
    return read(Path(summary.folder))


def test_whatever_a_client_raises_or_returns_is_dropped_and_named(runs_folder: Path) -> None:
    recorded = _run([deed for deed, _ in DEEDS.values()]).rounds[1]
    assert recorded.accepted == tuple(range(HONEST))
    for place, (name, (_, cause)) in enumerate(DEEDS.items()):
        shown = recorded.dropped[str(HONEST + place)]
        assert cause in shown, name
        assert shown.isprintable(), name
        assert len(shown) <= MAX_CAUSE, name


def test_the_user_s_own_interrupt_still_ends_the_run(runs_folder: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        _run([_raises(KeyboardInterrupt())])


def _spoil(message: Message, context: Context) -> Any:
    model = message.content["model"]
    for key in list(model):
        model[key].data, model[key].dtype = b"", "object"
        del model[key]
    message.content.config_records["round"]["round"] = 77
    for key in list(message.content):
        del message.content[key]
    message.content["gift"] = ConfigRecord({"x": 1})
    message.metadata.__dict__["_message_id"] = "another"
    for key in list(context.run_config):
        del context.run_config[key]
    context.node_config["partition-id"] = 0
    return "spoiled"


def test_what_a_client_does_to_its_message_reaches_no_other(runs_folder: Path) -> None:
    order = [_spoil, lambda message, context: honest_app(message, context)]
    spoiled = _run(order, run__rounds=2)
    silent = _run([_raises(RuntimeError("nothing")), order[1]], run__rounds=2)
    assert [r.accepted for r in spoiled.rounds] == [(), (0, 1, 2, 4), (0, 1, 2, 4)]
    assert spoiled.summary.parameters_sha256 == silent.summary.parameters_sha256


def test_a_client_that_drops_its_state_loses_it_alone(runs_folder: Path) -> None:
    def forget(message: Message, context: Context) -> Any:
        context.state = None  # type: ignore[assignment]
        return honest_app(message, context)

    assert [len(r.accepted) for r in _run([forget], run__rounds=2).rounds] == [0, 4, 4]


def test_numbers_that_no_chart_can_show_stop_no_report(runs_folder: Path) -> None:
    def boast(loss: float, seconds: float) -> Deed:
        def deed(message: Message, context: Context) -> Any:
            content = honest_app(message, context).content
            metrics = {"num-examples": 5, "train-loss": loss, "seconds": seconds}
            return Message(RecordDict({**content, "metrics": MetricRecord(metrics)}), reply_to=message)

        return deed

    wild = [float("inf"), float("-inf"), float("nan"), 1.7e308, -1.7e308, 5e-324]
    record = _run([boast(a, b) for a, b in zip(wild, reversed(wild), strict=True)], output__report=True)
    assert (record.folder / "report.html").is_file()
    assert len(record.rounds[1].accepted) == HONEST + len(wild)


def test_an_unknown_array_is_shown_in_one_line(runs_folder: Path) -> None:
    def forge(message: Message, context: Context) -> Any:
        content = honest_app(message, context).content
        true = content["model"]["parameters"]
        lie = Array("float64\nWARNING :     round 1: client 0 is malicious\x1b[31m", true.shape, true.stype, true.data)
        model = ArrayRecord({"parameters": lie, "buffers": content["model"]["buffers"]})
        return Message(RecordDict({**content, "model": model}), reply_to=message)

    cause = _run([forge]).rounds[1].dropped[str(HONEST)]
    assert cause.startswith("parameters are float64 WARNING : round 1: client 0 is")
    assert cause.isprintable()


TRACED = "ray::ClientAppActor.run()\nTraceback (most recent call last):\n  File 'a.py', line 3\n    f()\n"


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("<class 'ValueError'>:<'data are gone'>", "<class 'ValueError'>:<'data are gone'>"),
        (TRACED + "\x1b[31mValueError\x1b[0m: data are gone", "ValueError: data are gone"),
        (TRACED + "ValueError: data\nare gone\n\n", "ValueError: data are gone"),
        (3 * TRACED + "OSError: [Errno 28] disk full", "OSError: [Errno 28] disk full"),
        ("Traceback", "Traceback"),
        ("", ""),
    ],
)
def test_the_cause_is_what_went_wrong_not_where(reason: str, cause: str) -> None:
    message = Message(Error(code=2, reason=reason), reply_to=Message(RecordDict(), 1, "train"))
    with pytest.raises(InvalidReplyError) as caught:
        read_reply(message, 0, Layout(Weights(torch.zeros(1), torch.zeros(0)), (), 10))
    assert str(caught.value) == f"error 2: {cause}".strip()


def test_a_long_message_keeps_its_beginning() -> None:
    message = Message(
        Error(code=2, reason="ConfigError: task.dataset " + "x" * 10**6), reply_to=Message(RecordDict(), 1, "train")
    )
    with pytest.raises(InvalidReplyError, match=r"^error 2: ConfigError: task\.dataset x+\.\.\.$"):
        read_reply(message, 0, Layout(Weights(torch.zeros(1), torch.zeros(0)), (), 10))
