"""Twenty rounds in which a client sends whatever hypothesis thinks of: nothing is raised, and nothing is shown raw."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from fedcrucible.engines.local_grid import LocalGrid
from fedcrucible.flower import Defended
from strategies.replies import MAX_CAUSE
from tests.support.hostile_replies import Fuzzer
from tests.support.own_app import app_of, content, honest, record

START = {
    "0": np.ones((2, 3), np.float32), "bn.running_var": np.ones(2, np.float16), "n": np.array(3),
    "mask": np.array([True]), "d": np.array([0.5]),
}  # fmt: skip
ROUNDS, HOSTILE = 20, 1


def packed_array(values: Any) -> Array:
    return Array(np.asarray(values))


names = st.one_of(st.sampled_from(list(START)), st.text(max_size=8))
numbers = st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats())
arrays = npst.arrays(
    st.one_of(npst.floating_dtypes(), npst.integer_dtypes(), npst.boolean_dtypes(), npst.complex_number_dtypes(),
              npst.unicode_string_dtypes(max_len=3)),
    npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)  # fmt: skip
forged = st.builds(
    Array,
    dtype=st.one_of(st.sampled_from(["float32", "bfloat16", "O", "V2", "f4,f4", ""]), st.text(max_size=6)),
    shape=st.lists(st.integers(-2, 2**62), max_size=3).map(tuple),
    stype=st.one_of(st.just("numpy.ndarray"), st.text(max_size=6)),
    data=st.one_of(st.binary(max_size=80), arrays.map(lambda values: packed_array(values).data)),
)
array_records = st.dictionaries(names, st.one_of(arrays.map(packed_array), forged), max_size=6).map(ArrayRecord)
complete = st.fixed_dictionaries(
    {k: st.one_of(st.just(packed_array(v)), arrays.map(packed_array), forged) for k, v in START.items()}
)
metric_records = st.dictionaries(
    st.one_of(st.sampled_from(["num-examples", "train_loss"]), st.text(max_size=8)),
    st.one_of(numbers, st.lists(st.floats(), max_size=3)),
    max_size=4,
).map(MetricRecord)
config_records = st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2).map(ConfigRecord)
contents = st.dictionaries(
    st.text(max_size=6),
    st.one_of(array_records, complete.map(ArrayRecord), metric_records, config_records),
    max_size=4,
).map(RecordDict)


def rounds_of(strategy: Defended, replies: list[RecordDict | Message | Exception | None]) -> int:
    """Twenty rounds with three honest clients and one that sends ``replies``; returns how many of them were valid."""
    grid = LocalGrid(app_of(honest), 4, {})
    arrays, valid = record(START), 0
    for number, odd in enumerate(replies, start=1):
        messages = sorted(
            strategy.configure_train(number, arrays, ConfigRecord(), grid), key=lambda m: m.metadata.dst_node_id
        )
        answers: list[Any] = list(grid.send_and_receive(messages))
        answers[HOSTILE] = Message(odd, reply_to=messages[HOSTILE]) if isinstance(odd, RecordDict) else odd
        found, _ = strategy.aggregate_train(number, answers)
        assert [strategy.outcome.dropped.get(i) for i in (0, 2, 3)] == [None] * 3
        for cause in strategy.outcome.dropped.values():
            assert cause.isprintable()
            assert 0 < len(cause) <= MAX_CAUSE
        valid += HOSTILE in strategy.outcome.valid
        if found is not None:
            assert list(found) == list(START)
            assert all(np.isfinite(a.numpy()).all() for a in found.values())
            arrays = found
        strategy.configure_evaluate(number, arrays, ConfigRecord(), grid)
        strategy.aggregate_evaluate(number, answers)
    return valid


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(contents, min_size=ROUNDS, max_size=ROUNDS), st.sampled_from(["fedavg", "krum", "flame", "foolsgold"]))
def test_twenty_rounds_of_anything(replies: list[RecordDict], rule: str) -> None:
    rounds_of(Defended(rule, seed=1), list(replies))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # of numpy, about odd headers
def test_replies_that_are_nearly_right() -> None:
    valid = 0
    for seed in range(8):
        fuzzer, rng = Fuzzer(seed), random.Random(seed)
        made = [content(START, rng.randrange(5, 15), train_loss=1.0) for _ in range(ROUNDS)]
        valid += rounds_of(Defended("median", seed=1), [fuzzer.spoiled(reply) for reply in made])
    assert 0 < valid < 8 * ROUNDS / 2
