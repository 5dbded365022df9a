"""Reading a file never runs a program: malicious ones are tried on every loader of the project."""

from __future__ import annotations

import contextlib
import pickle
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from attacks.artefact import Artefact
from fedcrucible.sites.pack import read_pack
from fedcrucible.sites.request import read_request
from fedcrucible.sites.roster import read_roster
from fedcrucible_assets import asset_path
from fedcrucible_core.config.load import load
from fedcrucible_core.config.preset import load_preset
from fedcrucible_core.foundation.cache import read_tensors
from fedcrucible_core.foundation.encoder import Encoder
from fedcrucible_core.foundation.generators.flow import FlowGenerator
from fedcrucible_core.foundation.sentence_encoder import MeanPooled
from fedcrucible_core.learning.datasets import load_task
from fedcrucible_core.learning.models.distilbert import DistilBert
from fedcrucible_core.learning.tasks.tokenizer import tokenizer_of
from fedcrucible_core.records import files, reader
from fedcrucible_core.records.checkpoint import latest_checkpoint
from fedcrucible_core.records.reader import read
from strategies.pretraining import _read as read_pretrained
from tests.support.malicious_files import Payload, as_npy, as_torch, wrappings
from tests.support.tiny_distilbert import TEXTS, pretrained


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """The file that appears as soon as a payload is unpickled."""
    return tmp_path / "a program ran"


def test_the_payloads_work(mark: Path, tmp_path: Path) -> None:
    import numpy as np

    for content in (as_torch(mark), as_torch(mark, old=True)):
        (tmp_path / "file").write_bytes(content)
        torch.load(tmp_path / "file", weights_only=False)
        assert mark.exists()
        mark.unlink()
    (tmp_path / "file.npy").write_bytes(as_npy(mark))
    np.load(tmp_path / "file.npy", allow_pickle=True)
    assert mark.exists()


Read = Callable[[Path], object]
"""Reads what lies in a folder."""


def _dataset(name: str) -> Read:
    return lambda folder: load_task(load({"task.dataset": name, "task.data_dir": str(folder)}).task)


def _weights(folder: Path) -> object:
    from fedcrucible_core.learning.weights import Weights

    return read_pretrained(folder / "x.safetensors", Weights(torch.zeros(1), torch.zeros(0)))


def _distilbert(folder: Path) -> object:
    return DistilBert.model_validate({"source": str(folder)}).build(TEXTS, 0)


IDX = ("images-idx3", "labels-idx1")
BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
LOADERS: dict[str, tuple[tuple[str, ...], Read]] = {
    # loader: the files that it looks for, and how it is called on their folder
    "npz": (("set.npz",), _dataset("npz")),
    "folder": (tuple(f"{name}/{n}.{end}" for name in "ab" for n, end in enumerate(("png", "jpg"))), _dataset("folder")),
    "csv": (("labels.csv", "train.csv"), _dataset("csv")),
    "jsonl": (("texts.jsonl",), _dataset("jsonl")),
    "mnist": (
        tuple(f"MNIST/raw/{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in IDX),
        _dataset("mnist"),
    ),
    "cifar10": (
        tuple(f"cifar-10-batches-py/{name}" for name in (*BATCHES, "test_batch", "batches.meta")),
        _dataset("cifar10"),
    ),
    "cifar100": (tuple(f"cifar-100-python/{name}" for name in ("train", "test", "meta")), _dataset("cifar100")),
    "svhn": (("train_32x32.mat", "test_32x32.mat"), _dataset("svhn")),
    "gtsrb": (("gtsrb/train-32.npz", "gtsrb/test-32.npz"), _dataset("gtsrb")),
    "hub": (("hf/a--b/train/data-00000-of-00001.arrow",), _dataset("hf:a/b")),
    "checkpoint": (("round-0000001.safetensors",), lambda folder: latest_checkpoint(folder, print)),
    "record": ((files.RUN,), read),
    "record's examples": ((files.EXAMPLES,), lambda folder: reader._examples(folder / files.EXAMPLES)),
    "record's features": (("001-x.safetensors",), reader._embeddings),
    "record's rounds": ((files.METRICS,), lambda folder: reader.read_rounds(folder / files.METRICS)),
    "artefact": (("x.safetensors",), lambda folder: Artefact.load(folder / "x.safetensors")),
    "cache": (("x.safetensors",), lambda folder: read_tensors(folder / "x.safetensors")),
    "pre-training": (("x.safetensors",), _weights),
    "generator": (("model.safetensors",), FlowGenerator.from_folder),
    "guide": (("model.safetensors",), lambda folder: Encoder(str(folder), "clip", torch.device("cpu"))),
    "guide, old weights": (("pytorch_model.bin",), lambda folder: Encoder(str(folder), "clip", torch.device("cpu"))),
    "sentence guide": (("pytorch_model.bin",), lambda folder: MeanPooled(str(folder), folder, torch.device("cpu"))),
    "distilbert": (("model.safetensors",), _distilbert),
    "distilbert, old weights": (("pytorch_model.bin",), _distilbert),
    "tokenizer": (("tokenizer.json",), lambda folder: tokenizer_of(str(folder))),
    "preset": (("x.toml",), lambda folder: load_preset(str(folder / "x.toml"))),
    "request": (("x.json",), lambda folder: read_request(folder / "x.json")),
    "pack": (("x.json",), lambda folder: read_pack(folder / "x.json")),
    "roster": (("x.json",), lambda folder: read_roster(folder / "x.json")),
}  # fmt: skip


def _beside(loader: str, folder: Path) -> None:
    """What has to be right for the loader to come as far as the malicious file."""
    good = {"generator": "flow-fashion", "guide": "clip-tiny-fashion", "guide, old weights": "clip-tiny-fashion"}
    source = asset_path(good[loader]) if loader in good else None
    if loader.startswith(("distilbert", "sentence")):
        source = pretrained()
    if loader == "hub":
        datasets = pytest.importorskip("datasets")
        saved = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]})
        datasets.DatasetDict({"train": saved}).save_to_disk(str(folder / "hf" / "a--b"))
    if source is not None:
        shutil.copytree(source, folder, dirs_exist_ok=True)
        (folder / "model.safetensors").unlink()


@pytest.mark.parametrize("loader", LOADERS)
def test_no_loader_runs_a_malicious_file(loader: str, mark: Path, tmp_path: Path) -> None:
    names, call = LOADERS[loader]
    for number, (wrapping, content) in enumerate(wrappings(mark).items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        _beside(loader, folder)
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        with warnings.catch_warnings(), contextlib.suppress(Exception):
            warnings.simplefilter("ignore")
            call(folder)
        assert not mark.exists(), wrapping


@pytest.mark.parametrize("loader", ["sentence guide", "distilbert"])
def test_code_in_a_model_s_folder_is_not_run(loader: str, mark: Path, tmp_path: Path) -> None:
    import json

    folder = tmp_path / "folder"
    shutil.copytree(pretrained(), folder)
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {f"Auto{kind}": f"evil.Evil{kind}" for kind in ("Config", "Model", "Tokenizer")}
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "evil"}))
    (folder / "evil.py").write_text(f"from pathlib import Path\nPath({str(mark)!r}).touch()\n")
    with contextlib.suppress(Exception):
        LOADERS[loader][1](folder)
    assert not mark.exists()


def test_a_reply_s_arrays_are_not_unpickled(mark: Path) -> None:
    from flwr.app import Array

    pickled = Array(dtype="float32", shape=(1,), stype="numpy.ndarray", data=as_npy(mark))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        pickled.numpy()
    assert not mark.exists()


def test_pictures_of_a_listing_are_opened_as_pictures_only(mark: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(pickle.dumps(Payload(mark)))
    for name, text in (
        ("train.csv", "path,label\na.png,x\na.png,y\n"),
        ("train.jsonl", '{"path": "a.png", "label": "x"}\n'),
    ):
        (tmp_path / name).write_text(text)
    for dataset in ("csv", "jsonl"):
        with contextlib.suppress(Exception):
            _dataset(dataset)(tmp_path)
    assert not mark.exists()
