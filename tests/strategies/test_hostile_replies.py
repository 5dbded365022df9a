"""One client for each kind of broken or hostile reply: the run goes on and names every one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from client_app.app import app as honest_app
from fedcrucible.engines.local_grid import LocalGrid
from fedcrucible_core.config.load import flatten, load
from fedcrucible_core.records.reader import read
from server_app.plan import Plan
from server_app.run import execute

Break = Callable[[RecordDict], RecordDict | None]


def _arrays(content: RecordDict, **changed: Array) -> ArrayRecord:
    kept = {key: content["model"][key] for key in content["model"]}
    return ArrayRecord({**kept, **changed})


def _with(content: RecordDict, **records: Any) -> RecordDict:
    return RecordDict({**{key: content[key] for key in content}, **records})


def _parameters(content: RecordDict) -> np.ndarray:
    return content["model"]["parameters"].numpy().copy()


def _raise(content: RecordDict) -> RecordDict:
    raise RuntimeError("<script>alert('out of memory')</script>")


def _nan(content: RecordDict) -> RecordDict:
    values = _parameters(content)
    values[7] = np.nan
    return _with(content, model=_arrays(content, parameters=Array(values)))


def _infinite_buffers(content: RecordDict) -> RecordDict:
    values = content["model"]["buffers"].numpy().copy()
    values[:] = np.inf
    return _with(content, model=_arrays(content, buffers=Array(values)))


def _short(content: RecordDict) -> RecordDict:
    return _with(content, model=_arrays(content, parameters=Array(_parameters(content)[:-1])))


def _matrix(content: RecordDict) -> RecordDict:
    return _with(content, model=_arrays(content, parameters=Array(_parameters(content)[None])))


def _double(content: RecordDict) -> RecordDict:
    return _with(content, model=_arrays(content, parameters=Array(_parameters(content).astype(np.float64))))


def _extra_array(content: RecordDict) -> RecordDict:
    return _with(content, model=_arrays(content, momentum=Array(_parameters(content))))


def _other_keys(content: RecordDict) -> RecordDict:
    return _with(content, model=ArrayRecord({"weights": content["model"]["parameters"]}))


def _no_metrics(content: RecordDict) -> RecordDict:
    return RecordDict({"model": content["model"], "client": content["client"]})


def _wrong_kind(content: RecordDict) -> RecordDict:
    return _with(content, metrics=ConfigRecord({"num-examples": 5}))


def _unexpected_record(content: RecordDict) -> RecordDict:
    return _with(content, gift=ConfigRecord({"payload": b"\x00" * 64}))


def _liar(content: RecordDict) -> RecordDict:
    return _with(content, metrics=MetricRecord({"num-examples": 10**9}))


def _no_examples(content: RecordDict) -> RecordDict:
    return _with(content, metrics=MetricRecord({"num-examples": 0}))


def _half_example(content: RecordDict) -> RecordDict:
    return _with(content, metrics=MetricRecord({"num-examples": 12.5}))


def _impostor(content: RecordDict) -> RecordDict:
    return _with(content, client=ConfigRecord({"partition-id": 0}))


def _garbage(content: RecordDict) -> RecordDict:
    shape = content["model"]["parameters"].shape
    broken = Array(dtype="float32", shape=shape, stype="numpy.ndarray", data=b"\x93NUMPY not an array")
    return _with(content, model=_arrays(content, parameters=broken))


def _false_header(content: RecordDict) -> RecordDict:
    true = content["model"]["parameters"]
    small = Array(np.zeros(3, dtype=np.float32))
    broken = Array(dtype="float32", shape=true.shape, stype=small.stype, data=small.data)
    return _with(content, model=_arrays(content, parameters=broken))


def _negative_variance(content: RecordDict) -> RecordDict:
    return _with(content, model=_arrays(content, buffers=Array(-1.0 - np.abs(content["model"]["buffers"].numpy()))))


def _empty(content: RecordDict) -> RecordDict:
    return RecordDict()


def _silent(content: RecordDict) -> None:
    return None


KINDS: dict[str, tuple[Break, str]] = {
    "raises": (_raise, "error 2"),
    "nan": (_nan, "not finite"),
    "infinite buffers": (_infinite_buffers, "not finite"),
    "short": (_short, "shape"),
    "matrix": (_matrix, "shape"),
    "double": (_double, "float64"),
    "extra array": (_extra_array, "arrays"),
    "other keys": (_other_keys, "arrays"),
    "no metrics": (_no_metrics, "missing"),
    "wrong kind": (_wrong_kind, "not a MetricRecord"),
    "unexpected record": (_unexpected_record, "unexpected"),
    "liar": (_liar, "claims 1000000000 examples"),
    "no examples": (_no_examples, "claims 0 examples"),
    "half example": (_half_example, "not a whole number"),
    "impostor": (_impostor, "claims to be partition 0"),
    "garbage": (_garbage, "unreadable"),
    "false header": (_false_header, "is declared as"),
    "negative variance": (_negative_variance, "variance is negative"),
    "empty": (_empty, "missing"),
    "silent": (_silent, "no reply in time"),
}
HONEST = 4


class _Silence(LocalGrid):
    """Loses the replies that a client asked not to send."""

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return [m for m in super().pull_messages(message_ids) if m.has_error() or "silent" not in m.content]


def _settings(clients: int) -> dict[str, str | int | float | bool]:
    return {
        "strategy": "flame",
        "run.rounds": 2,
        "adversary.malicious_fraction": 0.0,
        "federation.clients": clients,
        "federation.timeout_s": 0.2,
        "task.train_samples": clients * 12,
        "task.test_samples": 40,
        "partition.name": "iid",
        "model.name": "resnet8",
        "model.resnet8.width": 4,
        "training.local_epochs": 1,
        "output.report": False,
    }


@pytest.mark.parametrize("strategy", ["fedavg", "flame", "clip-fed-filter"])
def test_every_kind_is_dropped_and_named(strategy: str, runs_folder: Path) -> None:
    kinds = list(KINDS.values())
    hostile = ClientApp()

    @hostile.train()
    def train(msg: Message, context: Context) -> Message:
        reply = honest_app(msg, context)
        kind = int(context.node_config["partition-id"]) - HONEST
        if kind < 0:
            return reply
        broken = kinds[kind][0](reply.content)
        return Message(RecordDict({"silent": ConfigRecord()}) if broken is None else broken, reply_to=msg)

    settings = _settings(HONEST + len(kinds)) | {"strategy": strategy}
    plan = Plan.make(load(settings))
    grid = _Silence(hostile, plan.config.federation.clients, flatten(plan.config))
    summary = execute(plan, grid, in_order=True)

    rounds = read(Path(summary.folder)).rounds
    assert [r.round for r in rounds] == [0, 1, 2]
    for recorded in rounds[1:]:
        assert set(recorded.weights) == {str(i) for i in range(HONEST)}
        assert len(recorded.dropped) == len(kinds)
        for place, (name, (_, cause)) in enumerate(KINDS.items()):
            assert cause in recorded.dropped[str(HONEST + place)], name
    assert summary.ma_percent is not None
    assert sum(summary.dropped.values()) == 2 * len(kinds)


def test_too_few_valid_replies_keep_the_model(runs_folder: Path) -> None:
    hostile = ClientApp()

    @hostile.train()
    def train(msg: Message, context: Context) -> Message:
        return Message(_nan(honest_app(msg, context).content), reply_to=msg)

    plan = Plan.make(load(_settings(4)))
    summary = execute(plan, LocalGrid(hostile, 4, flatten(plan.config)), in_order=True)
    untrained = execute(Plan.make(load(_settings(4) | {"run.rounds": 0})), LocalGrid(hostile, 4, {}), in_order=True)
    assert summary.parameters_sha256 == untrained.parameters_sha256
    notes = [note for r in read(Path(summary.folder)).rounds for note in r.notes]
    assert notes == ["0 valid replies, 2 needed: the model was kept"] * 2


def test_a_huge_finite_update_never_stops_a_run(runs_folder: Path) -> None:
    hostile = ClientApp()

    @hostile.train()
    def train(msg: Message, context: Context) -> Message:
        reply = honest_app(msg, context)
        if context.node_config["partition-id"] != 0:
            return reply
        huge = np.full_like(_parameters(reply.content), 1e38)
        return Message(_with(reply.content, model=_arrays(reply.content, parameters=Array(huge))), reply_to=msg)

    for strategy in ("fedavg", "flame", "clip-fed-filter", "fine-tune"):
        settings = _settings(5) | {"strategy": strategy, "synthetic.source": "mixed", "synthetic.per_class": 2}
        plan = Plan.make(load(settings))
        summary = execute(plan, LocalGrid(hostile, 5, flatten(plan.config)), in_order=True)
        assert len(read(Path(summary.folder)).rounds) == 3, strategy
