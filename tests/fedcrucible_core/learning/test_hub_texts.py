"""Text sets of the Hugging Face hub as they lie there, and AG-NEWS."""

from pathlib import Path
from typing import Any

import pytest

from fedcrucible.commands.prepare import prepare as prepare_command
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.sections import TaskSection
from fedcrucible_core.learning.data import DataSplits
from fedcrucible_core.learning.datasets import dataset_source, load_ids, load_task
from fedcrucible_core.learning.tasks import TextTask, task_of

datasets = pytest.importorskip("datasets")
TEXT, WHOLE = (datasets.Value(kind) for kind in ("string", "int64"))
NEWS = datasets.ClassLabel(names=["World", "Sports", "Business", "Sci/Tech"])
WORDS = [f"news number {i} of the day" for i in range(12)]


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("FEDCRUCIBLE_DATA", raising=False)
    datasets.disable_progress_bars()


def save(root: Path, features: dict[str, Any], repo: str = "own--set", **splits: dict[str, Any]) -> None:
    kinds = datasets.Features(features)
    made = {name: datasets.Dataset.from_dict(columns, features=kinds) for name, columns in splits.items()}
    datasets.DatasetDict(made).save_to_disk(str(root / "hf" / repo))


def load(root: Path, name: str = "hf:own/set", **settings: object) -> DataSplits:
    chosen = {"train_samples": 0, "validation_fraction": 0.0, "tokenizer": "wordnet", "max_length": 40} | settings
    return load_task(TaskSection(dataset=name, data_dir=str(root), **chosen))


def decoded(data: DataSplits, split: str = "train") -> list[str]:
    task = task_of(data.info)
    assert isinstance(task, TextTask)
    return task.decode(getattr(data, split).inputs)


def news(count: int) -> dict[str, list[Any]]:
    return {"text": WORDS[:count], "label": [i % 4 for i in range(count)]}


def test_ag_news_is_read_as_the_hub_holds_it(tmp_path: Path) -> None:
    save(tmp_path, {"text": TEXT, "label": NEWS}, "fancyzhx--ag_news", train=news(8), test=news(4))
    data = load(tmp_path, "ag-news")
    assert data.info.name == "ag-news"
    assert data.info.class_names == ("World", "Sports", "Business", "Sci/Tech")
    assert data.train.labels.tolist() == [0, 1, 2, 3] * 2
    assert decoded(data) == WORDS[:8]
    assert data.notes == ("4 of the 4 test texts are in train too",)
    half = load(tmp_path, "ag-news", train_samples=4)
    assert half.train.labels.bincount().tolist() == [1] * 4, "a balanced part"
    assert load(tmp_path, "ag-news", max_length=0).info.shape == (128,)


def test_ag_news_has_distilbert_s_tokenizer_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, {"text": TEXT, "label": NEWS}, "fancyzhx--ag_news", train=news(8), test=news(4))
    asked = []

    def loads(name: str, **settings: object) -> None:
        asked.append((name, settings.get("local_files_only", False)))
        raise OSError("no network here")

    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", loads)
    with pytest.raises(ConfigError, match="no network here") as caught:
        load(tmp_path, "ag-news", tokenizer="")
    assert caught.value.key == "task.tokenizer"
    assert asked == [("distilbert/distilbert-base-uncased", True), ("distilbert/distilbert-base-uncased", False)]


def test_absent_ag_news_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="run `fedcrucible prepare ag-news`"):
        load(tmp_path, "ag-news")
    with pytest.raises(ConfigError, match=r"task\.dataset"):
        dataset_source("ag-news:other")


def test_any_text_set_is_found_by_its_columns(tmp_path: Path) -> None:
    columns = {"idx": list(range(6)), "sentence": WORDS[:6], "label": ["pos", "neg"] * 3}
    save(tmp_path, {"idx": WHOLE, "sentence": TEXT, "label": TEXT}, train=columns)
    data = load(tmp_path)
    assert data.info.class_names == ("neg", "pos")
    assert data.info.tokenizer == "wordnet"
    assert len(data.train) + len(data.test) == 6
    assert prepare_command("hf:own/set", str(tmp_path)).as_line().startswith("hf:own/set: 6 training and no test texts")
    assert len(load_ids(TaskSection(dataset="hf:own/set", data_dir=str(tmp_path), train_samples=0), "idx")) > 0


def test_the_only_column_of_strings_is_the_texts_whatever_its_name(tmp_path: Path) -> None:
    columns = {"abstract": WORDS[:6], "label": [0, 1] * 3}
    save(tmp_path, {"abstract": TEXT, "label": WHOLE}, train=columns)
    assert set(decoded(load(tmp_path))) < set(WORDS)


def test_a_label_of_any_name_is_what_is_left(tmp_path: Path) -> None:
    columns = {"text": WORDS[:6], "stars": [1, 5] * 3}
    save(tmp_path, {"text": TEXT, "stars": WHOLE}, train=columns)
    assert load(tmp_path).info.class_names == ("1", "5")


@pytest.mark.parametrize(
    ("settings", "key", "why"),
    [
        ({}, "task.dataset", r"several columns may be the texts \(premise, hypothesis\): set task.text_column"),
        ({"text_column": "nothing"}, "task.text_column", "no such column; allowed: premise, hypothesis"),
        ({"text_column": "label"}, "task.text_column", "does not hold texts; allowed: premise, hypothesis"),
        ({"text_column": "premise", "image_column": "premise"}, "task.text_column", "leave one out"),
        ({"image_column": "premise"}, "task.image_column", "does not hold pictures"),
        ({"image_size": 8, "text_column": "premise"}, "task.dataset", "has no images"),
    ],
)
def test_what_can_t_be_told_apart_is_named(settings: dict[str, object], key: str, why: str, tmp_path: Path) -> None:
    columns = {"premise": WORDS[:6], "hypothesis": WORDS[:6], "label": [0, 1] * 3}
    save(tmp_path, {"premise": TEXT, "hypothesis": TEXT, "label": WHOLE}, train=columns)
    with pytest.raises(ConfigError, match=why) as caught:
        load(tmp_path, **settings)
    assert caught.value.key == key
    assert len(load(tmp_path, text_column="hypothesis").train) > 0


def test_pictures_with_captions_stay_pictures(tmp_path: Path) -> None:
    from PIL import Image

    pictures = [Image.new("L", (4, 4), i) for i in range(6)]
    columns = {"image": pictures, "text": WORDS[:6], "label": [0, 1] * 3}
    save(tmp_path, {"image": datasets.Image(), "text": TEXT, "label": WHOLE}, train=columns)
    assert load(tmp_path, tokenizer="", max_length=0).info.task == "vision"
    assert load(tmp_path, text_column="text").info.task == "text"


def test_rows_without_a_text_are_left_out_and_said(tmp_path: Path) -> None:
    found = news(8) | {"text": [*WORDS[:6], None, "  "]}
    save(tmp_path, {"text": TEXT, "label": NEWS}, train=found, test=news(4))
    data = load(tmp_path)
    assert len(data.train) == 6
    assert data.train.labels.tolist() == [0, 1, 2, 3, 0, 1]
    assert "skipped 2 rows: no text (train row 6, train row 7)" in data.notes
    assert len(load_ids(TaskSection(dataset="hf:own/set", data_dir=str(tmp_path), train_samples=0), "label")) > 0


def test_a_split_without_the_texts_is_named(tmp_path: Path) -> None:
    made = {
        "train": datasets.Dataset.from_dict(news(8)),
        "test": datasets.Dataset.from_dict({"other": WORDS[:4], "label": [0, 1, 2, 3]}),
    }
    datasets.DatasetDict(made).save_to_disk(str(tmp_path / "hf" / "own--set"))
    with pytest.raises(ConfigError, match="has no column text in the split test"):
        load(tmp_path)


def test_a_training_split_without_any_text_is_named(tmp_path: Path) -> None:
    save(tmp_path, {"text": TEXT, "label": NEWS}, train=news(4) | {"text": ["", None, " ", ""]}, test=news(4))
    with pytest.raises(ConfigError, match=r"task\.text_column = 'text': holds no text in train; skipped 4 rows"):
        load(tmp_path)
    save(tmp_path, {"text": TEXT, "label": NEWS}, "own--none", train=news(0), test=news(4))
    with pytest.raises(ConfigError):
        load(tmp_path, "hf:own/none")
