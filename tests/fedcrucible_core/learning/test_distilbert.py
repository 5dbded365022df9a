"""Text models: padding changes nothing, dropout is the seed's, pretrained weights are those of the source."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.sections import TrainingSection
from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.models import MODELS, SplitModel
from fedcrucible_core.learning.models.distilbert import SOURCE, FirstState, without_padding
from fedcrucible_core.learning.tasks.text import TextTask
from fedcrucible_core.learning.tasks.tokenizer import tokenizer_of
from fedcrucible_core.learning.training import train
from fedcrucible_core.learning.vector import flatten_buffers, flatten_parameters
from tests.support.tiny_distilbert import LONG_TEXTS, TEXTS, pretrained, save

SMALL = {"width": 16, "heads": 2, "hidden": 32, "layers": 1}
WORDNET = DataInfo("wn4", tuple("abcd"), (64,), (), (), task="text", tokenizer="wordnet", reserved=16)


def small(info: DataInfo = TEXTS, **more: object) -> SplitModel:
    return MODELS.create("distilbert-tiny", {**SMALL, **more}).build(info, 1)


def texts(n: int, info: DataInfo = TEXTS, seed: int = 0) -> Tensor:
    """Texts of several lengths."""
    rng = torch.Generator().manual_seed(seed)
    ids = TextTask(info).random_inputs(n, rng)
    lengths = torch.randint(3, ids.shape[1], (n, 1), generator=rng)
    return ids.where(torch.arange(ids.shape[1]) < lengths, 0)


def test_the_default_has_the_published_trials_size() -> None:
    model = MODELS.create("distilbert-tiny").build(WORDNET, 1)
    assert len(flatten_parameters(model)) == 1_446_020
    assert len(flatten_buffers(model)) == 0
    assert model.feature_dim == 128


@pytest.mark.parametrize("name", ["distilbert-tiny", "distilbert"])
def test_padding_and_company_change_no_text_s_features(name: str) -> None:
    spec = MODELS.create(name, SMALL if name == "distilbert-tiny" else {"source": str(pretrained())})
    model = spec.build(LONG_TEXTS, 1).eval()
    ids = texts(40, LONG_TEXTS)
    with torch.no_grad():
        together = model.embed(ids)
        for row in range(len(ids)):
            bare = ids[row : row + 1, : int((ids[row] != 0).sum())]
            assert torch.allclose(model.embed(bare), together[row : row + 1], atol=1e-6)
        assert torch.allclose(model.embed(ids.flip(0)), together.flip(0), atol=1e-6)


def test_a_text_without_anything_still_has_finite_features() -> None:
    model = small().eval()
    with torch.no_grad():
        assert bool(torch.isfinite(model(torch.zeros(3, 24, dtype=torch.int64))).all())
        mixed = torch.cat([torch.zeros(1, 24, dtype=torch.int64), texts(3)])
        assert torch.allclose(model(mixed)[1:], model(texts(3)), atol=1e-6)


def test_trailing_padding_is_cut_and_nothing_else() -> None:
    ids = torch.tensor([[5, 6, 0, 0, 0], [5, 0, 7, 0, 0]])
    assert without_padding(ids).tolist() == [[5, 6, 0], [5, 0, 7]]
    assert without_padding(torch.zeros(2, 4, dtype=torch.int64)).shape == (2, 1)
    assert without_padding(torch.ones(2, 4, dtype=torch.int64)).shape == (2, 4)


def _trained(seed: int = 3, **more: object) -> Tensor:
    model, ids = small(**more), texts(24)
    settings = TrainingSection(optimiser="adamw", lr=1e-3, batch_size=8, local_epochs=2)
    train(model, ids, torch.arange(24) % 4, settings, torch.Generator().manual_seed(seed))
    assert not model.training
    return flatten_parameters(model)


def test_training_with_dropout_follows_from_the_generator() -> None:
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    first = _trained()
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(_trained(), first)
    assert not torch.equal(_trained(4), first)
    assert not torch.equal(_trained(dropout=0.0, attention_dropout=0.0), first)


def test_pretrained_weights_are_those_of_the_folder() -> None:
    from transformers import DistilBertForMaskedLM

    there = DistilBertForMaskedLM.from_pretrained(pretrained()).eval()
    model = MODELS.create("distilbert", {"source": str(pretrained())}).build(TEXTS, 1).eval()
    ids = texts(5)
    with torch.no_grad():
        expected = there.distilbert(input_ids=ids, attention_mask=(ids != 0).long()).last_hidden_state[:, 0]
        features = model.features
        assert isinstance(features, FirstState)
        assert torch.allclose(features._by_length(ids), expected, atol=1e-6)


def test_a_frozen_encoder_is_not_sent_and_stays_as_it_was() -> None:
    spec = MODELS.create("distilbert", {"source": str(pretrained()), "frozen_encoder": True})
    model, ids = spec.build(TEXTS, 1), texts(24)
    assert len(flatten_parameters(model)) == 8 * 8 + 8 + 8 * 4 + 4
    frozen = {name: p.clone() for name, p in model.features.named_parameters() if name.startswith("encoder")}
    train(model, ids, torch.arange(24) % 4, TrainingSection(batch_size=8), torch.Generator().manual_seed(1))
    for name, before in frozen.items():
        assert torch.equal(model.features.get_parameter(name), before)
    model.train()
    assert model.features.head.training
    assert not model.features.encoder.training


def test_loading_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    pretrained()
    capfd.readouterr()
    MODELS.create("distilbert", {"source": str(pretrained())}).build(TEXTS, 1)
    assert capfd.readouterr() == ("", "")


def test_a_width_that_heads_can_t_share_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model.distilbert-tiny.width = 18: a multiple of heads = 4"):
        MODELS.create("distilbert-tiny", {"width": 18}).build(TEXTS, 1)


def _refused(source: str, info: DataInfo = TEXTS) -> str:
    with pytest.raises(ConfigError) as caught:
        MODELS.create("distilbert", {"source": source}).build(info, 1)
    assert caught.value.key == SOURCE
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_no_distilbert_is_refused(tmp_path: Path) -> None:
    assert "its tokenizer: no such folder" in _refused(str(tmp_path / "nowhere"))
    save(tmp_path, "BertModel")
    assert "it is a model of type bert" in _refused(str(tmp_path))


def test_weights_that_lack_a_layer_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(pretrained(), tmp_path / "half")
    weights = load_file(tmp_path / "half" / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if "attention.q_lin" not in name}
    save_file(kept, tmp_path / "half" / "model.safetensors", metadata={"format": "pt"})
    assert "it has no transformer.layer.0.attention.q_lin.bias" in _refused(str(tmp_path / "half"))


def test_texts_of_another_tokenizer_are_refused(tmp_path: Path) -> None:
    shutil.copytree(pretrained(), tmp_path / "other")
    own = (tmp_path / "other" / "tokenizer.json").read_text(encoding="utf-8")
    word = next(iter(w for w in tokenizer_of("wordnet").backend.get_vocab() if w.isalpha() and len(w) > 4))
    (tmp_path / "other" / "tokenizer.json").write_text(own.replace(f'"{word}"', '"zzyzx"'), encoding="utf-8")
    assert "its tokenizer isn't that of the texts, wordnet" in _refused(str(tmp_path / "other"))


def test_texts_longer_than_the_model_takes_are_refused() -> None:
    long = DataInfo("long", ("a", "b"), (41,), (), (), task="text", tokenizer="wordnet")
    assert "takes texts of 40 tokens at most, these have 41" in _refused(str(pretrained()), long)
