"""Records of any names, shapes and types: what is judged, what is kept exact, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, RecordDict
from torch import nn

from fedcrucible.flower import Defended
from fedcrucible.flower.layout import Columns, Layout, output_layer, tied
from fedcrucible_core.config import ConfigError
from strategies.arrays import BFLOAT16, packed, values_of
from tests.support.own_app import Values, content, honest, record, run, values

ml_dtypes = pytest.importorskip("ml_dtypes")
BATCH_NORM = {
    "bn.weight": np.ones(3, np.float32), "bn.running_mean": np.zeros(3, np.float32),
    "bn.running_var": np.ones(3, np.float32), "bn.num_batches_tracked": np.array(0),
}  # fmt: skip


def constant(client_values: dict[str, list[Any]]) -> Any:
    """Clients that answer with set values, whatever they were sent."""

    def reply(arrays: dict[str, Values], client: int, round: int) -> RecordDict:
        return content(
            {k: np.full_like(v, client_values[k][client]) if k in client_values else v for k, v in arrays.items()}
        )

    return reply


def test_statistics_are_recognised_by_name_and_by_a_model() -> None:
    assert [e.part for e in Layout.of(record(BATCH_NORM)).entries] == ["learned", "statistic", "statistic", "integer"]
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    model.register_buffer("scale", torch.ones(1))
    arrays = ArrayRecord(model.state_dict())
    strategy = Defended("fedavg", model=model)
    run(strategy, arrays)
    parts = {entry.key: entry.part for entry in strategy.aggregator.layout.entries}
    assert parts["scale"] == "statistic"
    assert parts["1.running_var"] == "statistic"
    assert parts["1.weight"] == "learned"
    assert Layout.of(arrays).by_key["scale"].part == "learned"  # nobody said that it is a buffer
    assert Layout.of(arrays, ["scale"]).by_key["scale"].part == "statistic"


def test_statistics_take_no_part_in_distances() -> None:
    reply = constant({"bn.running_mean": [0, 0, 1e6, 0, 0], "bn.weight": [1.0, 1.1, 1.05, 1.2, 9.0]})
    strategy = Defended("krum", f=1)
    found = run(strategy, BATCH_NORM, reply)
    assert strategy.outcome.weights[2] == 1.0, "its weight is nearest to the others', whatever its statistics are"
    np.testing.assert_array_equal(found.arrays["bn.running_mean"].numpy(), np.full(3, 1e6, np.float32))


def test_counters_stay_whole_and_are_the_largest_of_accepted_clients() -> None:
    large = 2**60 + 1  # no float64 holds it
    for counts in ([7, 8, 3, 9, 0], [7, 8, 3, 2**62, 9], [7, 8, 3, -5, 9]):  # one that jumps is not believed
        start = {**BATCH_NORM, "bn.num_batches_tracked": np.array(large)}
        found = run(Defended("fedavg"), start, constant({"bn.num_batches_tracked": [large + c for c in counts]}))
        counter = found.arrays["bn.num_batches_tracked"].numpy()
        assert (str(counter.dtype), counter.shape, int(counter)) == ("int64", (), large + 9)
    strategy = Defended("krum", f=1)
    reply = constant({"bn.num_batches_tracked": [7, 8, 3, 2**60, 0], "bn.weight": [1.0, 1.1, 1.2, 50.0, 1.15]})
    chosen = run(strategy, BATCH_NORM, reply).arrays["bn.num_batches_tracked"].numpy()
    assert strategy.outcome.weights[3] == 0.0
    assert int(chosen) == [7, 8, 3, 2**60, 0][max(strategy.outcome.weights, key=strategy.outcome.weights.__getitem__)]


def test_flags_are_what_most_of_the_weight_says_and_ties_stay() -> None:
    start = {"w": np.zeros(2, np.float32), "mask": np.array([True, False])}

    def reply(arrays: dict[str, Values], client: int, round: int) -> RecordDict:
        return content({"w": arrays["w"], "mask": np.array([client < 1, client < 2])}, 10)

    mask = run(Defended("fedavg"), start, reply, clients=4).arrays["mask"].numpy()
    assert mask.dtype == np.bool_
    assert mask.tolist() == [False, False]  # 1 of 4 for the first; 2 of 4 for the second, which was False
    assert run(Defended("fedavg"), start, reply, clients=3).arrays["mask"].numpy().tolist() == [False, True]


def test_halves_are_summed_in_float32_and_come_back_as_halves() -> None:
    start = {"w": np.full(4, 2048.0, np.float16)}  # the next half is 2050: a sum in halves would lose the ones
    found = run(Defended("fedavg"), start, constant({"w": [2048, 2050, 2052, 2054, 2056]})).arrays["w"].numpy()
    assert found.dtype == np.float16
    assert found.tolist() == [2052.0] * 4
    kept = Defended("fedavg")
    result = run(kept, {"w": np.full(2, 60000.0, np.float16)}, constant({"w": [60000] * 5}))
    assert result.arrays["w"].numpy().tolist() == [60000.0, 60000.0]


def test_bfloat16_of_jax_comes_back_as_bfloat16() -> None:
    def array(numbers: list[float]) -> Array:
        return Array(np.asarray(numbers, ml_dtypes.bfloat16))

    start = ArrayRecord({"w": array([256.0, 1.0])})
    assert values_of(start["w"]).tolist() == [256.0, 1.0]

    from flwr.app import Context, Message
    from flwr.clientapp import ClientApp

    from fedcrucible.engines.local_grid import LocalGrid

    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        client = int(context.node_config["partition-id"])
        own = message.content["arrays"]["w"].numpy().view(ml_dtypes.bfloat16)  # type: ignore[index]
        assert own[0] >= 256
        return Message(content(ArrayRecord({"w": array([256.0 + 2 * client, 1.0])})), reply_to=message)

    found = Defended("fedavg", fraction_evaluate=0.0).start(LocalGrid(app, 5, {}), start, num_rounds=2)
    assert found.arrays["w"].dtype == BFLOAT16
    assert values_of(found.arrays["w"]).tolist() == [260.0, 1.0]
    assert values_of(packed(np.array([1.0, 3.0], np.float32), BFLOAT16)).tolist() == [1.0, 3.0]


def test_float64_keeps_its_digits_under_every_rule_that_needs_nothing() -> None:
    """scikit-learn: numbered arrays of float64; what all clients agree on comes back to the last digits."""
    goal = {"0": np.array([[np.pi, np.e], [1 / 3, -2 / 7], [1e-9, 1e9]]), "1": np.array([1 / 3, 0.1, -np.pi])}
    start = {key: np.zeros_like(v) for key, v in goal.items()}
    for rule in ("fedavg", "median", "trimmed-mean", "krum", "multi-krum", "bulyan", "fldetector", "rlr"):
        found = run(Defended(rule), start, lambda a, c, r: content(goal), clients=7)
        for key, expected in goal.items():
            values = found.arrays[key].numpy()
            assert values.dtype == np.float64
            np.testing.assert_allclose(values, expected, rtol=1e-14, err_msg=f"{rule} {key}")


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (1,), (2, 1, 3)])
def test_shapes_without_dimensions_and_without_numbers(shape: tuple[int, ...]) -> None:
    start = {"w": np.ones(4, np.float32), "odd": np.ones(shape, np.float32)}
    found = run(Defended("median"), start, rounds=2)
    assert found.arrays["odd"].numpy().shape == shape
    assert tuple(found.arrays["odd"].shape) == shape


def test_arrays_in_another_order_of_memory_or_bytes() -> None:
    whole = np.arange(12, dtype=np.float32).reshape(3, 4)

    def reply(arrays: dict[str, Values], client: int, round: int) -> RecordDict:
        forms = (whole, np.asfortranarray(whole), whole.astype(">f4"), whole.astype(np.float64), whole[::1])
        return content({"w": forms[client]})

    found = run(Defended("median"), {"w": np.zeros((3, 4), np.float32)}, reply).arrays["w"].numpy()
    np.testing.assert_array_equal(found, whole)


def test_adapters_alone_are_judged_as_they_are() -> None:
    """LoRA: only A and B travel, or only one of them; the mean of A and the mean of B aren't the mean of BA."""
    adapter = {
        "base.q.lora_A.weight": np.random.default_rng(0).standard_normal((2, 8)).astype(np.float32),
        "base.q.lora_B.weight": np.zeros((8, 2), np.float32),
        "base.v.lora_B.weight": np.zeros((8, 2), np.float32),
    }
    strategy = Defended("flame", noise=0.0)
    found = run(strategy, adapter, rounds=2)
    assert list(found.arrays) == list(adapter)
    only = {"base.q.lora_B.weight": adapter["base.q.lora_B.weight"]}
    assert list(run(Defended("krum", f=1), only).arrays) == list(only)


def test_tied_weights_count_once_and_both_come_back() -> None:
    embedding = np.random.default_rng(1).standard_normal((5, 3)).astype(np.float32)
    start = {"embed.weight": embedding, "body.weight": np.ones(4, np.float32), "head.weight": embedding.copy()}

    def reply(arrays: dict[str, Values], client: int, round: int) -> RecordDict:
        made = values(honest(arrays, client, round)["arrays"])  # type: ignore[arg-type]
        return content({**made, "head.weight": made["embed.weight"]})

    strategy = Defended("fedavg")
    found = run(strategy, start, reply, rounds=2)
    layout = strategy.aggregator.layout
    copies = tied(layout, record(start), [found.arrays])
    assert copies == {"head.weight": "embed.weight"}
    assert Columns.of(layout.learned, copies).size == 15 + 4
    np.testing.assert_array_equal(found.arrays["head.weight"].numpy(), found.arrays["embed.weight"].numpy())
    own = values(run(Defended("fedavg"), start, rounds=2).arrays)  # here clients train them apart
    assert not np.array_equal(own["head.weight"], own["embed.weight"])


def test_layers_that_only_begin_equal_are_not_tied() -> None:
    start = {"a.weight": np.ones((2, 2), np.float32), "b.weight": np.ones((2, 2), np.float32)}
    found = values(run(Defended("fedavg"), start).arrays)
    assert not np.array_equal(found["a.weight"], found["b.weight"])


def test_frozen_layers_and_positions_of_old_checkpoints() -> None:
    """HF BERT of older versions sends int64 position ids; frozen layers have updates of no length."""
    start = {
        "embeddings.position_ids": np.arange(6)[None],
        "encoder.weight": np.ones((3, 3), np.float32),
        "classifier.weight": np.zeros((2, 3), np.float32),
        "classifier.bias": np.zeros(2, np.float32),
    }

    def head_only(arrays: dict[str, Values], client: int, round: int) -> RecordDict:
        rng = np.random.default_rng(client)
        moved = {k: v + rng.standard_normal(v.shape).astype(np.float32) for k, v in arrays.items() if "class" in k}
        return content({**arrays, **moved})

    for rule in ("flame", "foolsgold", "signguard", "krum", "clip-cluster", "fedcpa"):
        found = values(run(Defended(rule), start, head_only, clients=6).arrays)
        np.testing.assert_array_equal(found["embeddings.position_ids"], start["embeddings.position_ids"])
        np.testing.assert_allclose(found["encoder.weight"], 1.0, atol=0.05)

    frozen = Defended("flame")
    assert values(run(frozen, start, lambda a, c, r: content(a)).arrays)["encoder.weight"].tolist() == [[1.0] * 3] * 3


def test_buffers_by_position_in_lists_of_numpy_arrays() -> None:
    keras = {str(i): np.ones(3, np.float32) for i in range(5)}
    layout = Layout.of(record(keras), [3, 4])
    assert [entry.part for entry in layout.entries] == ["learned"] * 3 + ["statistic"] * 2
    reply = constant({"3": [0, 0, 0, 0, 1e5], "0": [1.0, 1.1, 1.2, 1.3, 1.25]})
    strategy = Defended("krum", f=1, buffers=[3, 4])
    run(strategy, keras, reply)
    assert strategy.outcome.weights[4] == 1.0 or strategy.outcome.weights[2] == 1.0
    for wrong in ([5], ["nobody"], [True]):
        with pytest.raises(ConfigError, match="buffers"):
            run(Defended("krum", buffers=wrong), keras)


def test_keras_statistics_have_names_too() -> None:
    arrays = record({"bn/gamma": np.ones(2, np.float32), "bn/moving_variance": np.ones(2, np.float32)})
    assert Layout.of(arrays).by_key["bn/moving_variance"].is_variance


def test_the_last_layer_is_found_with_and_without_names() -> None:
    def output(arrays: dict[str, Values]) -> tuple[list[str], str]:
        slots, name = output_layer(Columns.of(Layout.of(record(arrays)).learned, {}).slots)
        return [slot.name for slot in slots], name

    named = {"a.weight": np.ones((4, 2), np.float32), "fc.weight": np.ones((3, 4), np.float32)}
    assert output({**named, "fc.bias": np.ones(3, np.float32)}) == (["a.weight", "fc.weight", "fc.bias"], "fc")
    numbered = {"0": np.ones((3, 4)), "1": np.ones(3)}
    assert output(numbered) == (["output.weight", "output.bias"], "output")
    assert output({"w": np.ones((3, 4))}) == (["w"], "")


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (Array(np.zeros(0, np.uint8)), "FedXgbBagging"),
        (Array(np.arange(9, dtype=np.uint8)), "FedXgbBagging"),
        (Array(np.arange(9, dtype=np.int8)), "quantised"),
        (Array(np.ones(3, np.complex64)), "complex64"),
        (Array(np.array(["a", "b"])), "<U1"),
        (Array("float32", (2,), "torch.sparse", b"xx"), "torch.sparse"),
        (Array("qint8", (2,), "numpy.ndarray", b"xx"), "qint8"),
        (Array(np.ones(3, np.longdouble)), "float128"),
        (Array(np.array([1.0, np.nan], np.float32)), "not finite"),
    ],
)
def test_what_has_no_mean_is_refused_before_anybody_trains(array: Array, said: str) -> None:
    asked: list[int] = []

    def reply(arrays: dict[str, Values], client: int, round: int) -> RecordDict:
        asked.append(client)
        return honest(arrays, client, round)

    arrays = ArrayRecord({"w": Array(np.ones(2, np.float32)), "odd": array})
    with pytest.raises(ConfigError, match="odd") as error:
        run(Defended("fedavg"), arrays, reply)
    assert said in str(error.value)
    assert asked == []


def test_there_must_be_something_to_judge() -> None:
    for arrays in ({}, {"n": np.arange(3)}, {"w": np.zeros(0, np.float32)}):
        with pytest.raises(ConfigError, match="initial_arrays"):
            run(Defended("fedavg"), arrays)
