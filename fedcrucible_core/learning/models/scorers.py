"""Logits of a set by a model that is only run: ONNX, TorchScript, or a file of logits that somebody computed."""

from __future__ import annotations

import csv
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.extras import install_hint
from fedcrucible_core.config.plain_text import plain_text
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.models.libraries import IMAGENET
from fedcrucible_core.learning.models.torchscript import require_agreement, torchscript_logits

LOGITS = (".npz", ".csv")
TORCHSCRIPT = (".pt", ".pth", ".ts", ".torchscript")
ALLOWED = "allowed: .onnx, TorchScript (.pt, .ts), or logits of every row (.npz, .csv)"
BATCH = 250


@dataclass(frozen=True)
class ScorerFile:
    """A model that scores, and how it wants its pictures."""

    file: str
    pixels: Literal["unit", "bytes"] = "unit"
    """Range of pixels: 0 to 1, or 0 to 255."""
    normalise: Literal["data", "imagenet", "none"] = "none"
    """Constants that pixels in 0 to 1 are normalised with, per channel."""
    run_program: bool = False
    """Agreement to run a TorchScript archive."""
    key: str = "scorer"
    """The setting that named it, for errors."""

    @property
    def holds_logits(self) -> bool:
        """Whether it holds logits that somebody computed, and no model."""
        return Path(self.file).suffix.lower() in LOGITS


def check_scorer(of: ScorerFile, info: DataInfo) -> None:
    """Raise ConfigError for what can't be used; nothing is run."""
    path = Path(of.file).expanduser()
    if not of.file or not path.is_file():
        raise ConfigError(of.key, of.file, f"no such file; {ALLOWED}")
    kind = path.suffix.lower()
    if kind == ".onnx":
        if importlib.util.find_spec("onnxruntime") is None:
            raise ConfigError(of.key, of.file, install_hint("onnx"))
    elif kind in TORCHSCRIPT:
        require_agreement(path, of.key, agreed=of.run_program)
    elif kind in LOGITS:
        _require_classes(_read_logits(path, of.key), info, of)
    else:
        raise ConfigError(of.key, of.file, f"a file of a kind that isn't known; {ALLOWED}")
    if of.pixels == "bytes" and of.normalise != "none":
        raise ConfigError(f"{of.key}_normalise", of.normalise, "goes with pixels in 0 to 1; allowed with bytes: none")
    if kind not in LOGITS and info.task != "vision":
        raise ConfigError(
            of.key, of.file, f"models that are only run take pictures, {info.name} has {info.task} inputs"
        )


def check_rows(of: ScorerFile, data: Labeled) -> None:
    """Raise ConfigError where a file of logits has none for some of the samples."""
    _of_rows(_read_logits(Path(of.file).expanduser(), of.key), data, of)


def scored(of: ScorerFile, data: Labeled, info: DataInfo) -> Tensor:
    """Logits float32 ``[n, C]`` of the samples, on the CPU.

    A file of logits has a row for each row of the published set (``Labeled.rows``), or for each sample in order.

    Raises:
        ConfigError: the file can't be used, fails on the pictures, or has other classes or rows.
    """
    check_scorer(of, info)
    path = Path(of.file).expanduser()
    if path.suffix.lower() in LOGITS:
        return _of_rows(_read_logits(path, of.key), data, of)
    batches = [_as_wanted(batch, of, info) for batch in torch.split(data.for_model().cpu(), BATCH)]
    try:
        if path.suffix.lower() == ".onnx":
            answers = _onnx_logits(path, batches)
        else:
            answers = torchscript_logits(path, batches, of.key, agreed=of.run_program)
        found = torch.cat([torch.as_tensor(part).to(torch.float32) for part in answers])
    except ConfigError:
        raise
    except Exception as error:  # programs of others raise what they like
        shape = tuple(batches[0].shape[1:])
        raise ConfigError(of.key, of.file, f"fails on pictures of shape {shape} ({plain_text(error)})") from None
    _require_classes(found, info, of)
    if len(found) != len(data):
        raise ConfigError(of.key, of.file, f"answers {len(found)} rows to {len(data)} pictures")
    return found


def _as_wanted(pixels: Tensor, of: ScorerFile, info: DataInfo) -> Tensor:
    if of.pixels == "bytes":
        return pixels * 255.0
    if of.normalise == "none":
        return pixels
    constants = (info.mean, info.std) if of.normalise == "data" else IMAGENET
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in constants)
    return (pixels - mean) / std


def _onnx_logits(path: Path, batches: list[Tensor]) -> list[Tensor]:
    import onnxruntime  # type: ignore[import-untyped]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return [torch.from_numpy(np.asarray(session.run(None, {name: batch.numpy()})[0])) for batch in batches]


def _read_logits(path: Path, key: str) -> Tensor:
    """float32 ``[N, C]``. Raises ConfigError."""
    try:
        found = _npz(path) if path.suffix.lower() == ".npz" else _csv(path)
    except Exception as error:  # readers raise what they like on damaged files
        raise ConfigError(key, str(path), f"can't be read as logits ({plain_text(error)})") from None
    if found.ndim != 2:
        raise ConfigError(key, str(path), f"logits must be [rows, classes], they are {found.shape}")
    return torch.from_numpy(found.astype(np.float32))


def _npz(path: Path) -> np.ndarray:
    with np.load(path, allow_pickle=False) as arrays:
        names = list(arrays)
        name = "logits" if "logits" in names else names[0]
        if name != "logits" and len(names) > 1:
            raise ValueError(f"it holds {', '.join(names)}; one must be called logits")
        return np.asarray(arrays[name])


def _csv(path: Path) -> np.ndarray:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = [row for row in csv.reader(stream) if row]
    try:
        [float(cell) for cell in rows[0]]
    except ValueError:
        rows = rows[1:]  # a header
    return np.array([[float(cell) for cell in row] for row in rows])


def _of_rows(logits: Tensor, data: Labeled, of: ScorerFile) -> Tensor:
    rows = data.rows
    if rows is not None and bool((rows >= 0).all()) and int(rows.max()) < len(logits):
        return logits[rows]
    if len(logits) == len(data):
        return logits
    allowed = f"has {len(logits)} rows; one for each of the {len(data)} samples, or for each row of the data set"
    raise ConfigError(of.key, of.file, allowed)


def _require_classes(logits: Tensor, info: DataInfo, of: ScorerFile) -> None:
    if logits.ndim != 2 or logits.shape[1] != info.num_classes:
        allowed = f"answers {tuple(logits.shape[1:])} numbers a sample; {info.name} has {info.num_classes} classes"
        raise ConfigError(of.key, of.file, allowed)
