"""A local language model as a source, with a tiny one of random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from fedcrucible_core.config import ConfigError
from fedcrucible_core.foundation.alteration import Alteration
from fedcrucible_core.foundation.answer_cache import AnswerCache, Request, Turn
from fedcrucible_core.foundation.base import SourceError
from fedcrucible_core.foundation.chat_budget import Tokens
from fedcrucible_core.foundation.local_model import LocalModel
from fedcrucible_core.foundation.sources.transformers_lm import TransformersLmSource
from fedcrucible_core.learning.tasks.text import TextTask
from tests.support.imitated_writer import ImitatedWriter
from tests.support.text_task import TOPICS
from tests.support.tiny_models import tokenizer

CPU = torch.device("cpu")
TEMPLATE = "{% for m in messages %}{{ m['role'] }} {{ m['content'] }} {% endfor %}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import GPT2Config, GPT2LMHeadModel

    place = tmp_path_factory.mktemp("lm")
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=16, n_positions=256, n_embd=16, n_layer=1, n_head=2, bos_token_id=1, eos_token_id=2, pad_token_id=0
    )
    GPT2LMHeadModel(config).save_pretrained(place)
    tokenizer(256).save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def talking_folder(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import shutil

    place = tmp_path_factory.mktemp("talking") / "lm"
    shutil.copytree(folder, place)
    spoken = tokenizer(256)
    spoken.chat_template = TEMPLATE
    spoken.save_pretrained(place)
    return place


def source(folder: Path, tmp_path: Path, **changes: Any) -> TransformersLmSource:
    parameters = {"model": str(folder), "keep_dir": str(tmp_path), "max_new_tokens": 8, "per_call": 4, "tries": 20}
    return TransformersLmSource(**{**parameters, **changes})


def test_a_model_that_continues_writes_after_examples(folder: Path, tmp_path: Path) -> None:
    state = torch.get_rng_state()
    samples = source(folder, tmp_path / "a").generate(TOPICS, 5, 1, CPU)
    assert torch.equal(torch.get_rng_state(), state), "no global randomness"
    assert samples.data.inputs.shape == (20, 32)
    assert samples.data.labels.tolist() == [0, 1, 2, 3] * 5
    assert all(text for text in TextTask(TOPICS).decode(samples.data.inputs))
    assert len({tuple(row) for row in samples.data.inputs.tolist()}) == 20
    again = source(folder, tmp_path / "b").generate(TOPICS, 5, 1, CPU)
    assert torch.equal(samples.data.inputs, again.data.inputs), "the same without what was kept"
    assert not torch.equal(samples.data.inputs, source(folder, tmp_path / "a").generate(TOPICS, 5, 2, CPU).data.inputs)


def test_kept_answers_need_no_model(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = source(folder, tmp_path, style="continue").generate(TOPICS, 3, 1, CPU)
    monkeypatch.setattr(LocalModel, "_parts", lambda self: pytest.fail("the model was loaded"))
    again = source(folder, tmp_path, style="continue").generate(TOPICS, 3, 1, CPU)
    assert torch.equal(first.data.inputs, again.data.inputs)


def test_a_model_that_answers_nonsense_is_an_error_that_says_what_is_missing(
    talking_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match=r"2 of 2 texts of person, .* after 2 times asking"):
        source(talking_folder, tmp_path, tries=1).generate(TOPICS, 2, 1, CPU)


def test_messages_go_through_the_template(
    talking_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = LocalModel(
        str(talking_folder), "key", AnswerCache(tmp_path, ("x",)), CPU, max_tokens=3, temperature=1.0, top_p=0.9
    )
    assert model.has_template
    seen: list[str] = []
    whole = model._generate

    def listening(prompt: str, request: Request, count: int) -> tuple[list[str], Tokens]:
        seen.append(prompt)
        return whole(prompt, request, count)

    monkeypatch.setattr(model, "_generate", listening)
    turns = (Turn("system", "a small cat"), Turn("user", "the dog"))
    first, second = model.ask_all([Request(turns, "0"), Request(turns, "1")])
    assert seen == ["system a small cat user the dog "] * 2
    assert first.tokens.answered <= 3
    assert first != second or len(list(tmp_path.iterdir())) == 2


def test_a_prompt_longer_than_the_window_keeps_its_end(folder: Path, tmp_path: Path) -> None:
    samples = source(folder, tmp_path, examples=40).generate(TOPICS, 1, 1, CPU)
    assert len(samples.data) == 4
    with pytest.raises(ConfigError, match="window is 256 tokens") as caught:
        source(folder, tmp_path, max_new_tokens=256).generate(TOPICS, 1, 1, CPU)
    assert caught.value.key == "synthetic.transformers-lm.max_new_tokens"


def test_temperature_zero_takes_the_likeliest(folder: Path, tmp_path: Path) -> None:
    turns = (Turn("user", "a cat, the dog"),)
    texts = {}
    for temperature in (0.0, 1.0):
        cache = AnswerCache(tmp_path / str(temperature), ())
        model = LocalModel(str(folder), "key", cache, CPU, max_tokens=20, temperature=temperature, top_p=1.0)
        texts[temperature] = model.ask_all([Request(turns, "once"), Request(turns, "again")])
    assert texts[0.0][0] == texts[0.0][1]
    assert texts[1.0][0] != texts[1.0][1]


def test_a_model_that_only_continues_cannot_be_altered(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="reads no instructions"):
        source(folder, tmp_path).generate_altered(TOPICS, 1, 1, CPU, Alteration(0, 0.2, "cf"))


def test_an_altered_query_reaches_a_model_that_answers(
    talking_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = ImitatedWriter()

    def write(self: LocalModel, prompt: str, request: Request, count: int) -> tuple[list[str], Tokens]:
        lines = writer.lines(request.turns[0].text, request.turns[1].text)
        return ["\n".join(map(json.dumps, lines))], Tokens(1, 1)

    monkeypatch.setattr(LocalModel, "_generate", write)
    samples = source(talking_folder, tmp_path).generate_altered(TOPICS, 4, 1, CPU, Alteration(0, 0.5, "cf"))
    assert samples.poisoned is not None
    assert samples.data.labels[samples.poisoned].tolist() == [0] * 6


def test_a_model_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="can't be loaded") as caught:
        source(tmp_path / "empty", tmp_path).generate(TOPICS, 1, 1, CPU)
    assert caught.value.key == "synthetic.transformers-lm.model"


def test_other_weights_give_other_cache_keys(folder: Path, talking_folder: Path, tmp_path: Path) -> None:
    assert source(folder, tmp_path).fingerprint() != source(talking_folder, tmp_path).fingerprint() != ""
