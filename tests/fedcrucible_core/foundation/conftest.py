"""Tiny, randomly initialised CLIP and SigLIP folders in the real format, and small data sets."""

from __future__ import annotations

import pytest
import torch

from fedcrucible_core.learning.data import DataInfo
from tests.support.tiny_models import CLASSES, TEXT, VISION, tokenizer


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory):
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor

    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    model = CLIPModel(CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=12)).half()
    model.save_pretrained(folder)
    images = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    CLIPProcessor(images, tokenizer(12)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def siglip_folder(tmp_path_factory: pytest.TempPathFactory):
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel, SiglipProcessor

    folder = tmp_path_factory.mktemp("siglip")
    torch.manual_seed(1)
    model = SiglipModel(SiglipConfig(text_config={**TEXT, "projection_size": 16}, vision_config=VISION))
    model.logit_bias.data.fill_(-10.0)
    model.logit_scale.data.fill_(2.0)
    model.save_pretrained(folder)
    SiglipProcessor(SiglipImageProcessor(size={"height": 32, "width": 32}), tokenizer(12)).save_pretrained(folder)
    return folder


@pytest.fixture
def colour_info():
    return DataInfo("toy", CLASSES, (3, 32, 32), (0.5, 0.4, 0.3), (0.2, 0.2, 0.2))


@pytest.fixture
def fashion_info():
    names = (
        "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
    )  # fmt: skip
    return DataInfo("fashion-mnist-slice", names, (1, 28, 28), (0.2860,), (0.3530,))


@pytest.fixture
def pictures():
    return torch.rand(10, 3, 40, 40, generator=torch.Generator().manual_seed(0))
