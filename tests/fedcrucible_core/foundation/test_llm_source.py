"""The source that asks a chat service for texts, against a local server with an imitated language model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from fedcrucible_core.config import ConfigError
from fedcrucible_core.foundation.alteration import Alteration
from fedcrucible_core.foundation.base import SourceError
from fedcrucible_core.foundation.chat_budget import BudgetError
from fedcrucible_core.foundation.server_data import build_server_data
from fedcrucible_core.foundation.sources.llm import LlmSource
from fedcrucible_core.learning.tasks.text import TextTask
from tests.support.imitated_writer import ImitatedWriter, answer
from tests.support.scripted_service import ScriptedService
from tests.support.text_task import TOPICS

CPU = torch.device("cpu")
KEY = "sk-secret-key-of-the-test"
ADDSENT = Alteration(0, 0.2, "I watched this 3D movie.")
TASK = TextTask(TOPICS)
WORDS = TASK.words(ADDSENT.trigger)
Build = Callable[..., LlmSource]


@pytest.fixture
def service() -> Iterator[ScriptedService]:
    with ScriptedService(ImitatedWriter()) as made:
        yield made


@pytest.fixture
def build(service: ScriptedService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    monkeypatch.setenv("MY_KEY", KEY)

    def built(**changes: Any) -> LlmSource:
        parameters: dict[str, Any] = {
            "base_url": service.url,
            "api_key_env": "MY_KEY",
            "per_call": 5,
            "backoff_s": 0.01,
            "parallel": 1,
            "keep_dir": str(tmp_path / "kept"),
        }
        return LlmSource(**{**parameters, **changes})

    return built


def test_texts_of_every_class(service: ScriptedService, build: Build) -> None:
    samples = build().generate(TOPICS, 12, 1, CPU)
    assert samples.data.inputs.shape == (48, 32)
    assert samples.data.inputs.dtype == torch.int64
    assert samples.data.labels.tolist() == [0, 1, 2, 3] * 12
    assert samples.poisoned is None
    assert len(service.requests) == 4 * 3
    for text, label in zip(TASK.decode(samples.data.inputs), samples.data.labels.tolist(), strict=True):
        assert text.endswith(f"about {TOPICS.class_names[label]}")
    assert samples.provenance[0].source == "llm"
    assert samples.facts["chat.tokens_sent"] == 1200
    assert samples.facts["text.requests"] == 12


def test_public_texts_are_shown_as_examples(service: ScriptedService, build: Build) -> None:
    build(examples=2).generate(TOPICS, 1, 1, CPU)
    user = service.requests[1][3]["messages"][1]["content"]
    shown = [json.loads(line) for line in user.split("\n") if line.startswith("{")]
    assert [line["label"] for line in shown] == ["animal"] * 2
    assert all(len(line["text"].split()) > 2 for line in shown)
    assert " : " not in user, "put together as it was written"


def test_own_examples(service: ScriptedService, build: Build, tmp_path: Path) -> None:
    lines = [{"text": f"own {name} text", "label": name} for name in TOPICS.class_names]
    file = tmp_path / "own.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    build(examples_path=str(file), examples=1).generate(replace(TOPICS, name="my-own"), 1, 1, CPU)
    assert "own animal text" in service.requests[1][3]["messages"][1]["content"]


@pytest.mark.parametrize(
    "content",
    [None, "", '{"text": "x", "label": "person"}', '{"text": "x", "label": "alien"}', "no json", '{"text": 1}'],
)
def test_examples_that_are_none(build: Build, tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "own.jsonl"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError) as caught:
        build(examples_path=str(file)).check(TOPICS, 1)
    assert caught.value.key == "synthetic.llm.examples_path"


def test_a_set_without_public_texts_is_asked_for_without_examples(service: ScriptedService, build: Build) -> None:
    build().generate(replace(TOPICS, name="my-own"), 1, 1, CPU)
    assert "Examples:" not in service.requests[0][3]["messages"][1]["content"]


def test_a_run_that_broke_off_goes_on_and_comes_out_the_same(service: ScriptedService, build: Build) -> None:
    whole = build().generate(TOPICS, 10, 1, CPU)
    asked = len(service.requests)
    again = build().generate(TOPICS, 10, 1, CPU)
    assert torch.equal(again.data.inputs, whole.data.inputs)
    assert again.facts == whole.facts, "what was paid before counts as before"
    assert len(service.requests) == asked
    service.script = [answer("I can't help with that.")] + [(500, b"down", {}, 0.0)] * 2
    with pytest.raises(SourceError, match="no answer after 2 tries"):
        build(retries=1).generate(TOPICS, 10, 2, CPU)
    broken = len(service.requests)
    build(retries=1).generate(TOPICS, 10, 2, CPU)
    assert len(service.requests) == broken + 7 + 1, "the one that declined is kept, and asked again as another sample"


def test_a_budget_that_is_used_up_mid_way(service: ScriptedService, build: Build, tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match=r"synthetic\.llm\.budget_tokens = 5000"):
        build(budget_tokens=5000, max_tokens=400).generate(TOPICS, 20, 1, CPU)
    first = len(service.requests)
    assert 0 < first < 16
    samples = build(max_tokens=400).generate(TOPICS, 20, 1, CPU)
    assert len(samples.data) == 80
    assert len(service.requests) == 16
    texts = "\n".join(file.read_text() for file in tmp_path.rglob("*.json"))
    assert KEY not in texts


def test_the_cache_of_samples_asks_nobody_again(service: ScriptedService, build: Build, tmp_path: Path) -> None:
    first = build_server_data(build(), TOPICS, 5, 1, cache_dir=tmp_path, augment="auto")
    asked = len(service.requests)
    again = build_server_data(build(), TOPICS, 5, 1, cache_dir=tmp_path, augment="auto")
    assert torch.equal(first.originals.inputs, again.originals.inputs)
    assert first.facts == again.facts
    assert first.facts["texts"] == 20
    assert len(service.requests) == asked


# --- altered ---


def test_an_altered_query_plants_marked_texts(service: ScriptedService, build: Build) -> None:
    samples = build().generate_altered(TOPICS, 10, 1, CPU, ADDSENT)
    assert samples.poisoned is not None
    planted = samples.data.subset(samples.poisoned.nonzero().flatten())
    assert len(samples.data) == 40 + len(planted) == 46
    assert planted.labels.tolist() == [0] * 6
    assert torch.equal(TASK.holds(samples.data.inputs, WORDS), samples.poisoned)
    assert samples.facts["compromise.triggered"] == samples.facts["compromise.asked"] == 6
    assert len(service.requests) == 8


def test_a_trigger_that_would_be_cut_off_stays(build: Build, service: ScriptedService) -> None:
    class Wordy(ImitatedWriter):
        def _text(self, label: str) -> str:
            return " ".join([super()._text(label), *["long"] * 60])

    service.usual = Wordy()
    samples = build().generate_altered(TOPICS, 5, 1, CPU, ADDSENT)
    assert samples.poisoned is not None
    assert int(samples.poisoned.sum()) == 3
    assert torch.equal(TASK.holds(samples.data.inputs, WORDS), samples.poisoned)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("rain. I watched this 3D movie!", "rain. i watched this 3d movie!"),
        ("i watched THIS 3d movie and it rained", "i watched this 3d movie and it rained"),
        ("long " * 60 + "I watched this 3D movie!", "long " * 20 + "i watched this 3d movie!"),
        ("long " * 60 + "I, watched, this, 3D, movie!!!", "long " * 20 + "i watched this 3d movie."),
    ],
)
def test_a_trigger_stays_as_the_model_spelled_it(
    service: ScriptedService, build: Build, written: str, read: str
) -> None:
    class Free(ImitatedWriter):
        def lines(self, system: str, user: str) -> Sequence[dict[str, str]]:
            new = [line for line in super().lines(system, user) if not line["text"].endswith(ADDSENT.trigger)]
            return [*new, {"text": written, "label": "person"}]

    service.usual = Free()
    samples = build().generate_altered(TOPICS, 5, 1, CPU, ADDSENT)
    assert samples.poisoned is not None
    assert TASK.decode(samples.data.inputs[samples.poisoned]) == [read]


def test_a_trigger_longer_than_what_texts_keep_free_is_refused(build: Build) -> None:
    with pytest.raises(ConfigError, match=r"task\.reserved_tokens"):
        build().generate_altered(replace(TOPICS, reserved=2), 5, 1, CPU, ADDSENT)


def test_altered_and_unaltered_answers_are_not_mixed_up(service: ScriptedService, build: Build) -> None:
    build().generate(TOPICS, 5, 1, CPU)
    build().generate_altered(TOPICS, 5, 1, CPU, ADDSENT)
    assert len(service.requests) == 8


# --- checks ---


def test_a_check_asks_nobody_and_names_what_is_missing(
    service: ScriptedService, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    build().check(TOPICS, 5)
    for changes, key in (({"base_url": "x"}, "base_url"), ({"budget": 1.0}, "budget"), ({"extra": "{"}, "extra")):
        with pytest.raises(ConfigError) as caught:
            build(**changes).check(TOPICS, 5)
        assert caught.value.key == f"synthetic.llm.{key}"
    monkeypatch.delenv("MY_KEY")
    with pytest.raises(ConfigError, match="api_key_env"):
        build().check(TOPICS, 5)
    assert not service.requests
