"""The texts that ship: their splits, their public slice, their settings."""

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest
import torch

from fedcrucible_assets import asset_path
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.sections import TaskSection
from fedcrucible_core.learning.datasets import dataset_source, load_task, public_slice
from fedcrucible_core.learning.tasks import TextTask, task_of

TOPICS = ("person", "animal", "artifact", "location", "plant", "food")
SIZES = {"train": 1150, "public": 250, "validation": 200, "test": 400}


def documents() -> list[dict[str, str]]:
    text = gzip.decompress(asset_path("wordnet-texts").read_bytes()).decode()
    return [json.loads(line) for line in text.splitlines()]


def task(name: str, **settings: object) -> TaskSection:
    return TaskSection(dataset=name, **({"train_samples": 0} | settings))


def test_no_lemma_and_no_gloss_is_in_two_documents() -> None:
    found = documents()
    assert len(found) == 12_000
    assert len({line["lemma"].lower() for line in found}) == len(found)
    assert len({line["gloss"].lower() for line in found}) == len(found)
    assert not any('"' in line["gloss"] for line in found), "no example sentences"
    assert min(len(line["gloss"].split()) for line in found) >= 3


def test_every_run_of_lines_holds_each_topic_once() -> None:
    found = documents()
    counts = Counter((line["split"], line["topic"]) for line in found)
    assert counts == {(split, topic): size for split, size in SIZES.items() for topic in TOPICS}
    assert all(found[i]["topic"] == TOPICS[i % 6] for i in range(len(found)))
    splits = [line["split"] for line in found]
    assert splits == sorted(splits, key=list(SIZES).index), "each split in one piece"


@pytest.mark.parametrize(("name", "classes"), [("wn4", 4), ("wn6", 6)])
def test_the_splits_are_whole_balanced_and_readable(name: str, classes: int) -> None:
    data = load_task(task(name))
    assert data.info.class_names == TOPICS[:classes]
    assert (data.info.task, data.info.shape, data.info.tokenizer, data.info.reserved) == ("text", (64,), "wordnet", 16)
    for split in ("train", "validation", "test"):
        found = getattr(data, split)
        assert found.labels.bincount().tolist() == [SIZES[split]] * classes
        assert found.inputs.dtype == torch.int64
        assert not (found.inputs == 1).all(1).any(), "no text of unknown tokens alone"
    kind = task_of(data.info)
    assert isinstance(kind, TextTask)
    first = next(line for line in documents() if line["split"] == "test")
    assert torch.equal(data.test.inputs[:1], kind.encode([f"{first['lemma']}: {first['gloss']}"]))
    assert not data.test.inputs[:, -16:].any(), "what is reserved is free"


def test_the_smaller_set_is_a_part_of_the_larger() -> None:
    small, large = load_task(task("wn4")), load_task(task("wn6"))
    for split in ("train", "validation", "test"):
        part = getattr(large, split)
        four = part.subset((part.labels < 4).nonzero()[:, 0])
        assert four.equals(getattr(small, split))


def test_a_part_of_train_is_balanced_prefix() -> None:
    part = load_task(task("wn4", train_samples=400)).train
    assert part.equals(load_task(task("wn4")).train.subset(torch.arange(400)))
    assert part.labels.bincount().tolist() == [100] * 4


@pytest.mark.parametrize(("name", "classes"), [("wn4", 4), ("wn6", 6)])
def test_the_public_slice_is_in_no_split(name: str, classes: int) -> None:
    data = load_task(task(name, max_length=48))
    public = public_slice(data.info)
    assert public is not None
    assert public.labels.bincount().tolist() == [250] * classes
    assert public.inputs.shape == (250 * classes, 48), "in the form of the run's data"
    seen = {tuple(row) for split in (data.train, data.validation, data.test) for row in split.inputs.tolist()}
    assert seen.isdisjoint(map(tuple, public.inputs.tolist()))


def test_where_nothing_public_ships_there_is_none() -> None:
    named = load_task(task("wn4")).info
    assert public_slice(type(named)("hf:a/b", ("x",), (4,), (), (), task="text")) is None


def test_length_and_reserve_are_settings() -> None:
    data = load_task(task("wn4", max_length=20, reserved_tokens=4))
    assert data.info.shape == (20,)
    own = (data.train.inputs != 0).sum(1) - 2
    assert int(own.max()) == 14


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"reserved_tokens": 62}, "task.reserved_tokens"),
        ({"max_length": 10}, "task.reserved_tokens"),
        ({"max_length": 2, "reserved_tokens": 0}, "task.max_length"),
        ({"tokenizer": "/nowhere"}, "task.tokenizer"),
        ({"text_column": "gloss"}, "task.text_column"),
        ({"image_column": "gloss"}, "task.image_column"),
        ({"image_size": 8}, "task.dataset"),
    ],
)
def test_what_texts_can_t_do_is_refused_by_key(settings: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_task(task("wn4", **settings))
    assert caught.value.key == key


@pytest.mark.parametrize(
    "settings", [{"max_length": 64}, {"reserved_tokens": 4}, {"tokenizer": "wordnet"}, {"text_column": "a"}]
)
def test_what_pictures_can_t_do_is_refused_by_key(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"images|no columns") as caught:
        load_task(TaskSection(**settings))
    assert caught.value.key == f"task.{next(iter(settings))}"


def test_a_missing_file_is_a_config_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FEDCRUCIBLE_ASSETS", str(tmp_path))
    with pytest.raises(ConfigError, match="wordnet-texts"):
        dataset_source("wn4").read(tmp_path)
