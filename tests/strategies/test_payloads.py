"""Models that travel as float16: what the server judges, what it refuses, and what the record says of bytes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, Message, RecordDict
from flwr.clientapp import ClientApp

from fedcrucible.engines.local_grid import LocalGrid
from fedcrucible_core.config.errors import ConfigError
from fedcrucible_core.config.load import load
from fedcrucible_core.learning.weights import Weights
from strategies.messages import read_train, to_arrays, train_content
from strategies.payloads import PAYLOADS
from strategies.replies import InvalidReplyError, Layout, read_reply
from tests.support.hostile_replies import honest_content
from tests.support.tiny_runs import play

NONE = torch.zeros(0)
SENT = Weights(torch.tensor([1.0, -0.1, 3e-4]), torch.tensor([70000.0]))
CHANGE = torch.tensor([1e-4, 2e-5, -3e-4])
NARROW = ("float16", "delta-float16", "float16-delta-float16")


def layout(name: str, sent: Weights = SENT) -> Layout:
    return Layout(sent, (), 100, payload=PAYLOADS[name])


def reply_with(parameters: np.ndarray, buffers: int = 1) -> Message:
    """An honest reply but for its parameters."""
    content = honest_content(len(parameters), buffers, 0)
    arrays = {"parameters": Array(parameters), "buffers": Array(np.ones(buffers, dtype=np.float32))}
    records = {**content, "model": ArrayRecord(arrays)}
    LocalGrid(ClientApp(), 1, {})  # outside Flower's processes messages need one
    request = Message(RecordDict(), dst_node_id=1, message_type="train")
    request.metadata.__dict__["_message_id"] = "1"
    return Message(RecordDict(records), reply_to=request)


def judged(name: str) -> torch.Tensor:
    """The update that the server's rule sees of a client that adds CHANGE to what it received."""
    received, _, _ = read_train(train_content(SENT, 1, 1, None, PAYLOADS[name]))
    assert received.parameters.dtype == torch.float32
    assert torch.equal(received.buffers, SENT.buffers)
    uploaded = PAYLOADS[name].uploaded(Weights(received.parameters + CHANGE, SENT.buffers), received)
    message = reply_with(to_arrays(uploaded)["parameters"].numpy())
    return read_reply(message, 0, layout(name)).weights.parameters - SENT.parameters


def test_float32_is_what_was_uploaded_bit_for_bit() -> None:
    rng = torch.Generator().manual_seed(1)
    sent, uploaded = Weights(torch.randn(1000, generator=rng), NONE), torch.randn(1000, generator=rng)
    assert not torch.equal(sent.parameters + (uploaded - sent.parameters), uploaded), "the way round would show"
    read = read_reply(reply_with(uploaded.numpy(), buffers=0), 0, layout("float32", sent))
    assert torch.equal(read.weights.parameters, uploaded)
    assert PAYLOADS["float32"].sent(sent) is sent


@pytest.mark.parametrize("name", NARROW)
def test_the_update_is_what_the_client_added_to_what_it_received(name: str) -> None:
    # float16 holds 1.0 in steps of 1e-3 on its upper side, and an update of 1e-4 in steps of 6e-8
    steps = 1e-7 if "delta" in name else 1e-3
    assert torch.allclose(judged(name), CHANGE, rtol=0.0, atol=steps)
    assert torch.allclose(judged(name)[2:], CHANGE[2:], rtol=0.0, atol=3e-7)


@pytest.mark.parametrize("name", NARROW)
@pytest.mark.parametrize(
    ("parameters", "cause"),
    [
        (np.ones(3, dtype=np.float32), "parameters are float32, not float16"),
        (np.ones(2, dtype=np.float16), r"shape \(2,\), expected \(3,\)"),
        (np.array([1.0, np.inf, 0.0], dtype=np.float16), "1 values that are not finite"),
        (np.ones(3, dtype=np.int16), "parameters are int16, not float16"),
    ],
)
def test_another_type_shape_or_an_overflow_is_dropped(name: str, parameters: np.ndarray, cause: str) -> None:
    with pytest.raises(InvalidReplyError, match=cause):
        read_reply(reply_with(parameters), 0, layout(name))


def test_float16_is_refused_where_float32_was_asked_for() -> None:
    with pytest.raises(InvalidReplyError, match="parameters are float16, not float32"):
        read_reply(reply_with(np.ones(3, dtype=np.float16)), 0, layout("float32"))


def test_an_update_that_float16_cannot_hold_is_dropped_with_its_cause() -> None:
    zeros = Weights(torch.zeros(3), NONE)
    diverged = PAYLOADS["delta-float16"].uploaded(Weights(torch.full((3,), 1e6), NONE), zeros)
    with pytest.raises(InvalidReplyError, match="3 values that are not finite"):
        read_reply(reply_with(diverged.parameters.numpy(), buffers=0), 0, layout("delta-float16", zeros))


def test_a_model_that_float16_cannot_hold_is_sent_as_it_is() -> None:
    large = Weights(torch.tensor([1e5, 0.1]), NONE)
    payload = PAYLOADS["float16"]
    received, _, _ = read_train(train_content(large, 1, 1, None, payload))
    assert torch.equal(received.parameters, large.parameters)
    assert payload.received(large) is large
    assert payload.bytes_down(large) == 8
    assert payload.bytes_down(Weights(torch.ones(2), torch.ones(1))) == 2 * 2 + 4


def test_a_run_learns_the_same_but_for_rounding_and_its_record_counts_the_bytes() -> None:
    (plain, rows), (narrow, fewer) = play(run__rounds=1), play(run__rounds=1, federation__payload="float16")
    assert narrow.dropped == {}
    assert narrow.parameters_sha256 != plain.parameters_sha256
    ratios = [fewer[1].bytes_down / rows[1].bytes_down, fewer[1].bytes_up / rows[1].bytes_up]
    assert all(0.5 < ratio < 0.6 for ratio in ratios)


def test_an_unknown_payload_is_one_error_that_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"federation\.payload = 'int8'.*delta-float16"):
        load({"federation.payload": "int8"})
