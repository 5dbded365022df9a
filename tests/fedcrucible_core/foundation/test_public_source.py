"""The public slice as a source: real, balanced, disjoint from all that is trained or measured on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedcrucible_assets import asset_path
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.sections import TaskSection
from fedcrucible_core.foundation.base import SOURCES
from fedcrucible_core.foundation.public_slice import public_samples
from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.datasets import load_task

CPU = torch.device("cpu")


def test_the_shipped_pictures_are_the_first_of_the_guide_s_own() -> None:
    with np.load(asset_path("fashion-public")) as file, np.load(asset_path("fashion-splits")) as parts:
        assert file["images"].shape == (2000, 28, 28)
        assert np.array_equal(file["indices"], parts["public_indices"][:2000])
        for name in ("train", "val", "reserve"):
            assert not np.intersect1d(file["indices"], parts[f"{name}_indices"]).size
        assert np.bincount(file["labels"]).tolist() == [200] * 10


def test_pictures_are_drawn_by_seed_classes_in_turn(fashion_info: DataInfo) -> None:
    source = SOURCES.create("public")
    one, same, other = (source.generate(fashion_info, 5, seed, CPU) for seed in (1, 1, 2))
    assert one.data.labels.tolist() == list(range(10)) * 5
    assert one.data.inputs.dtype == torch.float32
    assert one.data.equals(same.data)
    assert not one.data.equals(other.data)
    public = public_samples(fashion_info)
    rows = torch.tensor([origin.index for origin in one.provenance])
    assert torch.equal(public.inputs[rows], one.data.inputs)
    assert len(set(rows.tolist())) == 50, "without repetition"


def test_pictures_fit_the_run_s_shape(fashion_info: DataInfo) -> None:
    larger = DataInfo(fashion_info.name, fashion_info.class_names, (3, 32, 32), (0.5,) * 3, (0.5,) * 3)
    assert SOURCES.create("public").generate(larger, 1, 0, CPU).data.inputs.shape == (10, 3, 32, 32)


def test_texts_come_from_their_own_slice() -> None:
    data = load_task(TaskSection.model_validate({"dataset": "wn4", "train_samples": 0}))
    made = SOURCES.create("public").generate(data.info, 3, 0, CPU).data
    assert made.labels.tolist() == [0, 1, 2, 3] * 3
    assert made.inputs.dtype == torch.int64
    seen = {tuple(row) for split in (data.train, data.validation, data.test) for row in split.inputs.tolist()}
    assert seen.isdisjoint(map(tuple, made.inputs.tolist()))


def test_what_there_is_not_is_said(fashion_info: DataInfo) -> None:
    source = SOURCES.create("public")
    with pytest.raises(ConfigError, match=r"synthetic\.per_class = 201: at most 200 .*public"):
        source.check(fashion_info, 201)
    others = DataInfo("mine", ("a", "b"), (1, 28, 28), (0.5,), (0.5,))
    with pytest.raises(ConfigError, match=r"synthetic\.source = 'public': no public samples ship with mine"):
        source.check(others, 1)
    with pytest.raises(ConfigError, match=r"splitter\.name = 'public-probe': no public samples"):
        public_samples(others, "splitter.name", "public-probe")
