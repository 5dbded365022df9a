"""Models that are only run, and files of logits: what they answer, and what is refused."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.models.libraries import IMAGENET
from fedcrucible_core.learning.models.scorers import ScorerFile, check_scorer, scored

INFO = DataInfo("mine", ("a", "b"), (3, 4, 4), (0.5,) * 3, (0.25,) * 3)
INPUTS = torch.rand(7, 3, 4, 4, generator=torch.Generator().manual_seed(1))
DATA = Labeled(INPUTS, torch.arange(7) % 2, torch.arange(7))


def mean_of_channels(x: Tensor) -> Tensor:
    """What the programs below compute, from pixels as they get them."""
    return x.mean((2, 3))[:, :2]


def torchscript(folder: Path) -> Path:
    class Means(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean((2, 3))[:, :2]

    file = folder / "scorer.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(Means(), INPUTS), str(file))
    return file


def onnx_file(folder: Path) -> Path:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, number = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["y"]),
    ]
    weight = helper.make_tensor("w", number, (3, 2), [1.0, 0.0, 0.0, 1.0, 0.0, 0.0])
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", number, ["n", 3, 4, 4])],
        [helper.make_tensor_value_info("y", number, ["n", 2])], [weight],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    (folder / "scorer.onnx").write_bytes(model.SerializeToString())
    return folder / "scorer.onnx"


def test_programs_get_pixels_as_is_said(tmp_path: Path) -> None:
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in IMAGENET)
    wanted = {
        ("unit", "none"): INPUTS, ("bytes", "none"): INPUTS * 255.0, ("unit", "data"): (INPUTS - 0.5) / 0.25,
        ("unit", "imagenet"): (INPUTS - mean) / std,
    }  # fmt: skip
    for file in (torchscript(tmp_path), onnx_file(tmp_path)):
        for (pixels, normalise), expected in wanted.items():
            of = ScorerFile(str(file), pixels, normalise, run_program=True)
            assert torch.allclose(scored(of, DATA, INFO), mean_of_channels(expected), atol=1e-4)


def test_a_torchscript_archive_is_run_by_consent_alone(tmp_path: Path) -> None:
    of = ScorerFile(str(torchscript(tmp_path)), key="splitter.cgd-entropy.scorer")
    for call in (lambda: check_scorer(of, INFO), lambda: scored(of, DATA, INFO)):
        with pytest.raises(ConfigError, match=r"splitter\.cgd-entropy\.scorer_run=true"):
            call()


def test_logits_are_of_the_data_sets_rows_or_of_the_samples_in_order(tmp_path: Path) -> None:
    logits = np.arange(20.0).reshape(10, 2)
    np.savez(tmp_path / "all.npz", logits=logits)
    np.savetxt(tmp_path / "all.csv", logits, delimiter=",", header="a,b", comments="")
    part = Labeled(INPUTS[:3], torch.zeros(3, dtype=torch.int64), torch.tensor([9, 0, 4]))
    for name in ("all.npz", "all.csv"):
        assert scored(ScorerFile(str(tmp_path / name)), part, INFO).tolist() == logits[[9, 0, 4]].tolist()
    np.savez(tmp_path / "three.npz", logits[:3])
    assert scored(ScorerFile(str(tmp_path / "three.npz")), part, INFO).tolist() == logits[:3].tolist()
    with pytest.raises(ConfigError, match="has 3 rows"):
        scored(ScorerFile(str(tmp_path / "three.npz")), DATA, INFO)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("x.pkl", b"", "kind that isn't known"),
        ("x.npz", b"no archive", "can't be read as logits"),
        ("x.csv", b"a,b\n1,two\n", "can't be read as logits"),
        ("x.csv", b"1,2,3\n", "2 classes"),
        ("x.onnx", b"no model", "fails on pictures"),
        ("x.pt", b"no program", "can't be read as TorchScript"),
    ],
)
def test_what_can_not_be_used_is_one_error(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=says):
        scored(ScorerFile(str(tmp_path / name), run_program=True), DATA, INFO)


def test_a_missing_file_and_a_contradiction(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        check_scorer(ScorerFile(""), INFO)
    file = str(torchscript(tmp_path))
    with pytest.raises(ConfigError, match="_normalise"):
        check_scorer(ScorerFile(file, "bytes", "data", run_program=True), INFO)
