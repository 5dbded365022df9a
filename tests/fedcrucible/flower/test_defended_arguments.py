"""Arguments of another kind, or out of range: one error each, at construction or before anybody trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import RecordDict
from flwr.serverapp.strategy import FedAdam
from torch import nn

from fedcrucible.flower import Defended
from fedcrucible.flower.arguments import ALLOWED
from fedcrucible_core.config import ConfigError
from fedcrucible_core.records.reader import read
from tests.support.own_app import Values, honest, run

WRONG: dict[str, tuple[Any, ...]] = {
    "defence": (3, None, "nobody"),
    "record": (3, "", " "),
    "resume": ("yes", 1),
    "checkpoint_every": (-1, 1.5, "x", None, True),
    "model": ("x", nn.Linear),
    "class_names": (3, "abc", [1]),
    "input_shape": (3, "x", (-1,), (3.5,), ("a",), (0, 2)),
    "normalise": (0.5, (1, 2), ((0.5,),), ((0.5,), (0.5, 0.5)), ((0.5,), (0.0,)), (("a",), (1.0,)), ((), ())),
    "guide": (3,),
    "buffers": (3, None, "w", [[1]]),
    "max_examples": (-1, float("nan"), "x", None, float("inf"), True),
    "malicious_key": (3, None),
    "seed": (-1, 1.5, "x", True, 2**31),
    "on_disk": (3, ""),
    "settings": ([1], {3: 1}, "x", {"nobody": 1}, {"defense.krum.f": 1}),
    "on_round": (3,),
    "fraction_train": (-1, "x", float("nan"), 2.0, None),
    "fraction_evaluate": (-0.1, float("inf")),
    "min_train_nodes": (-1, 1.5, "x"),
    "min_evaluate_nodes": (-1,),
    "min_available_nodes": (None,),
    "weighted_by_key": (3, ""),
    "arrayrecord_key": (3,),
    "configrecord_key": ("",),
    "train_metrics_aggr_fn": (3,),
    "evaluate_metrics_aggr_fn": ("mean",),
}


def test_the_table_has_every_argument() -> None:
    assert WRONG.keys() == ALLOWED.keys() - {"num_rounds"}  # of start


@pytest.mark.parametrize("rounds", [-1, 1.5, "x", None])
def test_a_number_of_rounds_is_one(rounds: Any) -> None:
    with pytest.raises(ConfigError, match=r"^num_rounds = "):
        run(Defended("fedavg"), START, rounds=rounds)


def test_what_holds_numbers_or_names_is_taken_whatever_it_is(tmp_path: Path) -> None:
    given: dict[str, Any] = {
        "class_names": {"a": 0, "b": 1}.keys(), "input_shape": torch.Size([3, 4, 4]), "buffers": np.array([0]),
        "normalise": (torch.tensor([0.5]), np.array([0.2, 0.2, 0.2])[:1]), "guide": tmp_path, "resume": np.bool_(False),
        "noise": np.float32(0.25), "settings": {"training.lr": np.float64(0.5)}, "seed": np.int64(3),
        "record": tmp_path / "x",
    }  # fmt: skip
    strategy = Defended("flame", **given)
    run(strategy, START, rounds=np.int64(1))  # type: ignore[arg-type]
    assert read(tmp_path / "x").config["defense.flame.noise"] == 0.25
    assert strategy.aggregator.side.info.mean == (0.5,)


@pytest.mark.parametrize("outputs", [lambda x: (x,), lambda x: {"logits": x}, lambda x: x.sum()])
def test_a_model_that_returns_no_logits_is_refused(outputs: Any) -> None:
    class Wrapped(nn.Linear):
        def forward(self, x: torch.Tensor) -> Any:
            return outputs(super().forward(x))

    start = {"weight": np.ones((2, 3), np.float32), "bias": np.zeros(2, np.float32)}
    with pytest.raises(ConfigError, match=r"^model = .*returns logits"):
        run(Defended("fltrust", model=Wrapped(3, 2), root=(INPUTS, LABELS)), start)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_one_of_another_kind_is_refused_by_its_name(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^{name} = "):
        Defended(**{name: value})


def test_what_is_allowed_is_let_through(tmp_path: Path) -> None:
    Defended(
        "fedavg", record=str(tmp_path / "x"), checkpoint_every=np.int64(2), model=nn.Linear(2, 2), class_names=["a"],
        input_shape=[2], buffers=[], max_examples=10.5, seed=np.int64(3), fraction_train=0, min_train_nodes=0,
        settings={"training.lr": 0.1}, on_round=print,
    )  # fmt: skip


@pytest.mark.parametrize(("given", "told"), [(FedAdam, "FedAdam"), ("adam", "str")])
def test_a_server_optimiser_is_an_instance(given: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=rf"^inner = .*{told}"):
        Defended("fedavg", inner=given)


START: dict[str, Values] = {"0.weight": np.ones((2, 3), np.float32), "0.bias": np.zeros(2, np.float32)}
INPUTS = torch.rand(6, 3, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(6) % 2


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"root": (INPUTS, LABELS + 1)}, r"^root = 'labels 1 to 2': 0 to 1"),
        ({"root": (INPUTS, LABELS - 1)}, r"^root = 'labels -1 to 0': 0 to 1"),
        ({"root": (INPUTS[:, :2], LABELS)}, r"^root = \(2,\): inputs that the model takes"),
        ({"root": (INPUTS / 0.0, LABELS)}, r"^root = .*not finite"),
        ({"root": (INPUTS, LABELS), "normalise": ((0.5,), (0.5,))}, r"^normalise = .*channel"),
    ],
)
def test_samples_that_the_model_cant_take_are_refused_before_anybody_trains(given: dict[str, Any], told: str) -> None:
    asked: list[int] = []

    def reply(arrays: dict[str, Values], client: int, round: int) -> RecordDict:
        asked.append(client)
        return honest(arrays, client, round)

    with pytest.raises(ConfigError, match=told):
        run(Defended("fltrust", model=nn.Sequential(nn.Linear(3, 2)), **given), START, reply)
    assert asked == []


@pytest.mark.parametrize("defence", ["deepsight", "fine-tune"])
def test_flat_inputs_are_refused_where_pictures_are_needed(defence: str) -> None:
    given = {"server_images": (INPUTS, LABELS)} if defence == "fine-tune" else {"input_shape": (3,)}
    with pytest.raises(ConfigError, match=r"^input_shape = \(3,\): pictures"):
        run(Defended(defence, model=nn.Sequential(nn.Linear(3, 2)), **given), START)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_a_model_of_another_precision_is_trained_on_the_root_set(dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Linear(3, 2)).to(dtype)
    start = {key: tensor.numpy() for key, tensor in model.state_dict().items()}
    strategy = Defended("fltrust", model=model, root=(INPUTS, LABELS))
    found = run(strategy, start)
    assert strategy.outcome.notes == []
    assert strategy.outcome.model == "changed"
    assert found.arrays["0.weight"].dtype == str(dtype).removeprefix("torch.")
    assert model[0].weight.dtype == dtype  # the app's own stays as it is


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"mask": np.full(2, np.finfo(np.float32).min, np.float32)}, "squares overflow"),
        ({"bn.running_var": np.array([-1.0], np.float32)}, "running variance and negative"),
        ({"w": np.array([np.nan])}, "not finite"),
    ],
)
def test_a_model_that_no_reply_could_answer_is_refused(arrays: dict[str, Values], told: str) -> None:
    with pytest.raises(ConfigError, match=rf"^initial_arrays = .*{told}.*begin with a model without it"):
        run(Defended("fedavg"), {"v": np.zeros(2, np.float32), **arrays})
