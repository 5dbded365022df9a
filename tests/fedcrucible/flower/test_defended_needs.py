"""What each defence needs beside updates: given it works, missing it is refused by name before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import ArrayRecord, MetricRecord
from torch import nn
from torch.nn import functional as F

from defenses.base import RULES
from fedcrucible.flower import Defended
from fedcrucible.flower.configured import allowed_names
from fedcrucible.flower.server_model import ServerModel
from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.vector import flatten_parameters
from fedcrucible_core.learning.weights import Weights
from fedcrucible_core.records.reader import read
from tests.support.own_app import honest, run, values

SHAPE, CLASSES = (1, 8, 8), tuple(f"thing {i}" for i in range(4))


class Net(nn.Module):
    """A network whose head is registered before its body, and whose state dict holds statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8 * 9, 4)
        self.body = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        self.last = self.head  # the same layer under another name

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.head(self.body(x))
        return found


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 9, 4)
    )


def samples(n: int = 24) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(n, *SHAPE, generator=generator), torch.arange(n) % 4


GIVEN: dict[str, dict[str, Any]] = {
    "fltrust": {"model": net(), "root": samples(), "settings": {"training.lr": 0.05, "training.batch_size": 8}},
    "deepsight": {"model": net(), "input_shape": SHAPE, "noise_samples": 40},
    "fine-tune": {"model": net(), "server_images": samples(), "epochs": 1},
    "clip-fed": {
        "model": net(), "server_images": samples(), "guide": "tiny", "class_names": CLASSES, "kt_epochs": 1,
        "normalise": ((0.5,), (0.5,)),
    },
}  # fmt: skip


@pytest.mark.parametrize("name", GIVEN)
def test_a_defence_that_was_given_all_works(name: str) -> None:
    strategy = Defended(name, seed=3, **GIVEN[name])
    arrays = ArrayRecord(net().state_dict())
    found = run(strategy, arrays, rounds=2)
    assert strategy.outcome.notes == []
    assert strategy.outcome.model == "changed"
    assert list(found.arrays) == list(arrays)
    for key, array in found.arrays.items():
        assert (array.dtype, array.shape) == (arrays[key].dtype, arrays[key].shape)
    again = run(Defended(name, seed=3, **GIVEN[name]), arrays, rounds=2)
    assert all(np.array_equal(array.numpy(), again.arrays[key].numpy()) for key, array in found.arrays.items())


@pytest.mark.parametrize("name", ["fine-pruning", "anp", "i-bau", "d-br"])
def test_a_repair_works_on_the_final_model(name: str, tmp_path: Path) -> None:
    settings = {"repair.name": name, "output.report": False}
    given: dict[str, Any] = {"model": net(), "root": samples(40), "server_images": samples(40)}
    measured: list[int] = []

    def central(round: int, arrays: ArrayRecord) -> MetricRecord:
        measured.append(round)
        return MetricRecord({"accuracy": 0.1 * round})

    arrays = ArrayRecord(net().state_dict())
    strategy = Defended("median", seed=1, record=tmp_path / "x", settings=settings, **given)
    found = run(strategy, arrays, rounds=2, evaluate_fn=central)
    assert measured == [0, 1, 2, 3]
    assert strategy.outcome.notes == []
    rows = read(tmp_path / "x").rounds
    assert [(r.round, r.stage) for r in rows[2:]] == [(2, "training"), (3, "repair")]
    assert rows[3].ma_percent == pytest.approx(30)
    plain = run(Defended("median", seed=1), arrays, rounds=2)
    assert any(not np.array_equal(a.numpy(), plain.arrays[key].numpy()) for key, a in found.arrays.items())


@pytest.mark.parametrize(
    ("name", "taken", "said"),
    [
        ("fltrust", "root", "root="),
        ("fltrust", "model", "model="),
        ("deepsight", "model", "model="),
        ("deepsight", "input_shape", "input_shape="),
        ("fine-tune", "model", "model="),
        ("fine-tune", "server_images", "server_images="),
        ("clip-fed", "guide", "guide="),
        ("clip-fed", "server_images", "server_images="),
        ("clip-fed", "class_names", "class_names="),
    ],
)
def test_what_is_missing_is_named(name: str, taken: str, said: str) -> None:
    given = {key: value for key, value in GIVEN[name].items() if key != taken}
    with pytest.raises(ConfigError, match=name) as error:
        Defended(name, **given)
    assert said in str(error.value)


def test_deepsight_without_its_noise_needs_no_model() -> None:
    strategy = Defended("deepsight", noise_seeds=0)
    run(strategy, ArrayRecord(net().state_dict()))
    assert strategy.outcome.notes == []


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("flam", {}, "did you mean 'flame'"),
        ("flame", {"noize": 1}, "defense.flame.noise"),
        ("flame", {"noise": -1}, "at least 0"),
        ("krum", {"f": "x"}, "not a whole number"),
        ("flpurifier", {}, "changes how clients train"),
        ("crfl", {}, "defense.crfl.copies"),
        ("fm-fl", {}, "several architectures"),
        ("central", {}, "asks no client"),
        ("pruning", {}, "asks clients about the final model"),
        ("fedavg", {"settings": {"repair.name": "retrain"}}, "works on a split of what the model was trained on"),
        ("fedavg", {"settings": {"repair.name": "fine-pruning"}}, "root="),
        ("fedavg", {"settings": {"repair.name": "d-br"}}, "server_images="),
        ("flame", {"settings": {"run.rounds": 3}}, "counts for nothing"),
        ("flame", {"settings": {"training.lr": -1}}, "training.lr"),
        ("flame", {"seed": -1}, "seed = -1"),
        ("flame", {"resume": True}, "record"),
        ("fine-tune", {**GIVEN["fine-tune"], "settings": {"purifier.name": "activation-bounds"}}, "bounds"),
        ("fine-tune", {**GIVEN["fine-tune"], "settings": {"purifier.name": "cgd"}}, "split"),
        ("fine-tune", {**GIVEN["fine-tune"], "server_images": "flou"}, "flow"),
        ("fltrust", {**GIVEN["fltrust"], "root": 3}, "inputs"),
        ("fltrust", {**GIVEN["fltrust"], "root": (torch.ones(2, 1), torch.ones(3))}, "labels"),
    ],
)
def test_what_cant_be_had_is_refused_at_construction(name: str, given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        Defended(name, **given)
    assert said in str(error.value)


def test_every_rule_works_or_says_why_not() -> None:
    """A new rule is found here by itself."""
    refused = set()
    arrays = ArrayRecord(net().state_dict())
    for name in RULES:
        given = GIVEN.get(name, {})
        try:
            strategy = Defended(name, seed=1, **given)
        except ConfigError:
            refused.add(name)
            continue
        run(strategy, arrays, clients=8)
        assert strategy.outcome.notes == [], name
        assert strategy.outcome.weights, name
    assert refused == {"flpurifier", "crfl"}
    run(Defended("crfl", copies=0), arrays)
    assert set(RULES) < set(allowed_names())


class LogSoftmax(nn.Module):
    """A model that ends in more than its last linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.net = net()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.log_softmax(self.net(x), 1)


def test_a_model_that_cant_be_split_is_refused_before_anybody_trains() -> None:
    given = {key: value for key, value in GIVEN["fine-tune"].items() if key != "model"}
    arrays = ArrayRecord(LogSoftmax().state_dict())
    with pytest.raises(ConfigError, match="as they are"):
        run(Defended("fine-tune", **given, model=LogSoftmax()), arrays)
    with pytest.raises(ConfigError, match="takes a batch of inputs"):
        run(Defended("deepsight", model=net(), input_shape=(3, 8, 8)), ArrayRecord(net().state_dict()))
    with pytest.raises(ConfigError, match="lacks"):
        run(Defended("fine-tune", **GIVEN["fine-tune"]), {"other.weight": np.ones(3, np.float32)})
    rooted = {**GIVEN["fltrust"], "model": LogSoftmax()}  # nobody looks into it: it is only trained
    run(Defended("fltrust", **rooted), arrays)


def test_the_servers_model_holds_the_records_arrays() -> None:
    model = Net()
    info = DataInfo("app", CLASSES, SHAPE, (), ())
    server = ServerModel.split(model, info, torch.device("cpu"))
    arrays = ArrayRecord(Net().state_dict())
    server.bind(arrays)
    assert server.copies == {"head.weight": "last.weight", "head.bias": "last.bias"}  # split off, it comes last
    assert set(server.statistics) == {"body.1.running_mean", "body.1.running_var", "body.1.num_batches_tracked"}
    server.load(arrays)
    expected = values(arrays)
    flat = np.concatenate([expected[key].reshape(-1) for key in server.order])
    np.testing.assert_array_equal(flatten_parameters(server.module).numpy(), flat)
    returned = server.arrays(arrays)
    assert all(np.array_equal(array.numpy(), expected[key]) for key, array in returned.items())
    inputs, _ = samples()
    model.load_state_dict(arrays.to_torch_state_dict())
    torch.testing.assert_close(server.module(inputs), model.eval()(inputs))
    assert Weights.of(server.module).parameters.numel() == len(flat)


def test_numbered_arrays_are_a_models_by_position() -> None:
    numbered = {str(i): tensor.numpy() for i, tensor in enumerate(net().state_dict().values())}
    strategy = Defended("fltrust", **GIVEN["fltrust"])
    found = run(strategy, numbered)
    assert strategy.outcome.notes == []
    assert list(found.arrays) == list(numbered)
    by_key = strategy.aggregator.layout.by_key
    assert [key for key, entry in by_key.items() if entry.part == "statistic"] == ["4", "5"]  # the model's buffers
    assert by_key["5"].is_variance


def test_a_root_set_gives_the_reference_that_our_own_rule_gives() -> None:
    """FLTrust: the client that trains as the server does is trusted, one that goes the other way isn't."""
    strategy = Defended("fltrust", seed=1, **GIVEN["fltrust"])
    arrays = ArrayRecord(net().state_dict())
    run(strategy, arrays)
    model = strategy.aggregator.side.model
    assert model is not None
    view = strategy.aggregator.side.view
    from defenses.updates import ServerView

    train = view(ServerView(), arrays, 1).train_root
    assert train is not None
    step = train(10).numpy()
    keys = model.order

    def reply(sent: dict[str, Any], client: int, round: int) -> Any:
        from tests.support.own_app import content

        moved, start = dict(sent), 0
        for key in keys:
            size = sent[key].size
            sign = -1.0 if client == 4 else 1.0
            moved[key] = (sent[key] + sign * step[start : start + size].reshape(sent[key].shape)).astype(np.float32)
            start += size
        return content(moved)

    judged = Defended("fltrust", seed=1, **GIVEN["fltrust"])
    run(judged, arrays, reply)
    assert judged.outcome.weights[4] == 0.0
    assert all(judged.outcome.weights[i] > 0.2 for i in range(4))


def test_what_is_not_in_the_record_stays_as_the_model_has_it() -> None:
    """Frozen base, trained head: only the head travels."""
    model = net()
    head = {key: tensor for key, tensor in model.state_dict().items() if key.startswith("5.")}
    strategy = Defended("fltrust", **{**GIVEN["fltrust"], "model": model})
    found = run(strategy, ArrayRecord(head), honest, rounds=2)
    assert list(found.arrays) == ["5.weight", "5.bias"]
    assert strategy.outcome.notes == []
    assert strategy.aggregator.side.model is not None
    held = strategy.aggregator.side.model.module.state_dict()
    torch.testing.assert_close(held["network.0.weight"], model.state_dict()["0.weight"])
