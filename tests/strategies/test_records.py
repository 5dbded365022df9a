"""Records of a message are taken out so that nothing keeps their arrays when they are let go."""

from __future__ import annotations

import ast
import gc
import weakref
from collections.abc import Iterator

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from fedcrucible.engines.local_grid import LocalGrid
from fedcrucible_core.rooms import PACKAGES, ROOT
from strategies.records import record_in, records_of
from strategies.replies import received

VIEWS = {"array_records", "metric_records", "config_records"}
"""Flower's views of a content, each of which refers to itself and to the content."""


def _content() -> RecordDict:
    return RecordDict({"a": ArrayRecord({"w": Array(np.zeros(3))}), "m": MetricRecord({"n": 1})})


def test_a_record_is_found_by_key_and_kind() -> None:
    content = _content()
    assert record_in(content, "a", ArrayRecord) is content["a"]
    assert records_of(content, MetricRecord) == {"m": content["m"]}
    assert records_of(content, ConfigRecord) == {}
    for key, kind in (("b", ArrayRecord), ("a", MetricRecord)):
        with pytest.raises(KeyError, match=key):
            record_in(content, key, kind)  # type: ignore[type-var]


@pytest.fixture
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_collector")
def test_arrays_are_gone_when_the_reply_is() -> None:
    LocalGrid(ClientApp(), 1, {})  # a message can be made in a run alone
    message = Message(_content(), dst_node_id=2, message_type="train")
    held = weakref.ref(record_in(message.content, "a", ArrayRecord)["w"])
    received(message, lambda content: (record_in(content, "a", ArrayRecord), records_of(content, MetricRecord)))
    assert held() is not None
    del message
    assert held() is None


def _views(source: str) -> list[int]:
    nodes = ast.walk(ast.parse(source))
    return [node.lineno for node in nodes if isinstance(node, ast.Attribute) and node.attr in VIEWS]


def test_no_code_of_ours_uses_flowers_views() -> None:
    assert _views("content.array_records['a']") == [1]
    tops = [ROOT / name for name in PACKAGES]
    sources = {path: path.read_text("utf-8") for top in tops for path in top.rglob("*.py")}
    found = {path: _views(source) for path, source in sources.items() if any(view in source for view in VIEWS)}
    assert {str(path): lines for path, lines in found.items() if lines} == {}
