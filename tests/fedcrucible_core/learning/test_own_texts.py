"""Own texts in a CSV file or in JSON lines: columns, labels, splits, what is left out, what is refused."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.sections import TaskSection
from fedcrucible_core.learning.data import DataSplits
from fedcrucible_core.learning.datasets import load_ids, load_task
from fedcrucible_core.learning.datasets.json_rows import json_file, read_json_rows
from fedcrucible_core.learning.tasks import TextTask, task_of
from tests.support.own_pictures import write_table

TEXTS = ["a dog barks", "a cat purrs", "the dog, an animal", "one cat; two cats", "dogs", "cats"]


def write(folder: Path, kind: str, rows: list[dict[str, Any]], name: str = "texts") -> Path:
    """The same rows as a CSV file or as JSON lines."""
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "csv":
        cells = [["" if value is None else str(value) for value in row.values()] for row in rows]
        return write_table(folder / f"{name}.csv", cells, tuple(rows[0]))
    file = folder / f"{name}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def pets(texts: str = "text", labels: str = "label", **more: list[Any]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [{texts: words, labels: ("dog", "cat")[i % 2]} for i, words in enumerate(TEXTS)]
    return [row | {key: values[i] for key, values in more.items()} for i, row in enumerate(rows)]


def load(kind: str, place: Path, **settings: object) -> DataSplits:
    chosen = {"train_samples": 0, "validation_fraction": 0.0, "test_fraction": 0.34, "max_length": 32} | settings
    return load_task(TaskSection(dataset=kind, data_dir=str(place), **chosen))


def decoded(data: DataSplits, split: str = "train") -> list[str]:
    task = task_of(data.info)
    assert isinstance(task, TextTask)
    return task.decode(getattr(data, split).inputs)


both = pytest.mark.parametrize("kind", ["csv", "jsonl"])


@both
def test_texts_are_read_split_and_numbered(kind: str, tmp_path: Path) -> None:
    write(tmp_path, kind, pets(site=list("xyxyxy")))
    data = load(kind, tmp_path)
    assert data.info.class_names == ("cat", "dog")
    assert (data.info.name, data.info.task, data.info.shape, data.info.tokenizer) == (kind, "text", (32,), "wordnet")
    assert (len(data.train), len(data.validation), len(data.test)) == (4, 0, 2)
    assert sorted(decoded(data) + decoded(data, "test")) == sorted(TEXTS)
    assert data.notes == (f"{kind} has no test split: 2 of its 6 training texts are set aside for tests",)
    for row, label in zip(data.train.rows.tolist(), data.train.labels.tolist(), strict=True):
        assert ("dog", "cat")[row % 2] == data.info.class_names[label]
    task = TaskSection(dataset=kind, data_dir=str(tmp_path), train_samples=0, validation_fraction=0.0, max_length=32)
    assert sorted(set(load_ids(task, "site").tolist())) == [0, 1]


@both
def test_lengths_are_the_usual_unless_set(kind: str, tmp_path: Path) -> None:
    write(tmp_path, kind, pets())
    assert load(kind, tmp_path, max_length=0).info.shape == (128,)


@both
def test_a_column_of_splits_is_followed(kind: str, tmp_path: Path) -> None:
    write(tmp_path, kind, pets(split=["train", "Training", "train", "val", "test", "test"]))
    data = load(kind, tmp_path)
    assert (len(data.train), len(data.validation), len(data.test)) == (3, 1, 2)
    assert data.test.rows.tolist() == [4, 5]
    assert data.notes == ("validation has no text of 'dog'",)


@both
def test_columns_are_chosen(kind: str, tmp_path: Path) -> None:
    write(tmp_path, kind, pets("abstract", "topic", text=TEXTS[::-1], label=["x", "y"] * 3))
    assert decoded(load(kind, tmp_path, test_fraction=0.17))[0] == TEXTS[-1]
    chosen = load(kind, tmp_path, text_column="abstract", label_column="topic", test_fraction=0.17)
    assert decoded(chosen)[0] == TEXTS[0]
    assert chosen.info.class_names == ("cat", "dog")


@both
@pytest.mark.parametrize(
    ("names", "settings", "key"),
    [
        (("abstract", "label"), {"text_column": "nothing"}, "task.text_column"),
        (("text", "topic"), {}, "task.label_column"),
        (("text", "label"), {"label_column": "text"}, "task.label_column"),
    ],
)
def test_columns_that_can_t_be_told_apart_are_named(
    kind: str, names: tuple[str, str], settings: dict[str, str], key: str, tmp_path: Path
) -> None:
    write(tmp_path, kind, pets(*names))
    with pytest.raises(ConfigError) as caught:
        load(kind, tmp_path, **settings)
    assert caught.value.key == key


@both
def test_an_input_is_a_picture_or_a_text(kind: str, tmp_path: Path) -> None:
    write(tmp_path, kind, pets())
    with pytest.raises(ConfigError, match=r"leave (one|it) out") as caught:
        load(kind, tmp_path, image_column="text", text_column="text")
    assert caught.value.key == {"csv": "task.text_column", "jsonl": "task.image_column"}[kind]


def test_several_columns_of_texts_are_a_choice(tmp_path: Path) -> None:
    write(tmp_path, "jsonl", pets("text", "label", review=TEXTS))
    with pytest.raises(ConfigError, match="'text', 'review' could each be it"):
        load("jsonl", tmp_path)


def test_a_table_with_paths_stays_one_of_pictures(tmp_path: Path) -> None:
    write(tmp_path, "csv", pets("text", "label", path=["no.png"] * 6))
    with pytest.raises(ConfigError, match="no usable picture"):
        load("csv", tmp_path, max_length=0)
    assert len(load("csv", tmp_path, text_column="text").train) == 4


def test_a_table_of_neither_says_how_to_ask_for_texts(tmp_path: Path) -> None:
    write(tmp_path, "csv", pets("abstract"))
    with pytest.raises(ConfigError, match=r"task\.image_column = '': .*; of texts, task\.text_column"):
        load("csv", tmp_path)


@both
def test_rows_without_a_text_are_left_out_and_said(kind: str, tmp_path: Path) -> None:
    rows = pets()
    rows[2]["text"], rows[4]["text"] = "", "   "
    write(tmp_path, kind, rows)
    data = load(kind, tmp_path, test_fraction=0.25)
    assert len(data.train) + len(data.test) == 4
    assert data.notes[0] == "skipped 2 rows: no text (row 3, row 5)"
    assert data.train.rows is not None
    assert set(data.train.rows.tolist()) <= {0, 1, 3, 5}


@both
def test_a_class_without_texts_is_refused(kind: str, tmp_path: Path) -> None:
    rows = pets()
    for row in rows[1::2]:
        row["text"] = ""
    write(tmp_path, kind, rows)
    with pytest.raises(ConfigError, match=r"no usable training text of 'cat'; skipped 3 rows: no text"):
        load(kind, tmp_path)


@both
def test_missing_labels_are_counted(kind: str, tmp_path: Path) -> None:
    rows = pets()
    rows[0]["label"] = None if kind == "jsonl" else ""
    write(tmp_path, kind, rows)
    with pytest.raises(ConfigError, match="1 of 6 labels of the train split are missing"):
        load(kind, tmp_path)


@both
def test_labels_that_look_alike_are_refused(kind: str, tmp_path: Path) -> None:
    rows = pets()
    rows[0]["label"] = "Dog"
    write(tmp_path, kind, rows)
    with pytest.raises(ConfigError, match="differ only in case"):
        load(kind, tmp_path)


@both
def test_texts_of_two_splits_are_said(kind: str, tmp_path: Path) -> None:
    rows = pets(split=["train"] * 4 + ["test"] * 2)
    rows[4]["text"] = rows[0]["text"]
    write(tmp_path, kind, rows)
    assert load(kind, tmp_path).notes == ("1 of the 2 test texts are in train too",)


def test_texts_that_would_not_fit_in_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "jsonl", pets())
    monkeypatch.setattr("fedcrucible_core.learning.datasets.texts.most_bytes", lambda: 6 * 32 * 8 - 1)
    with pytest.raises(ConfigError, match="6 texts take") as caught:
        load("jsonl", tmp_path)
    assert caught.value.key == "task.max_length"


# --- JSON lines -------------------------------------------------------------------------------------------------------


def lines(folder: Path, *found: str) -> Path:
    file = folder / "any.jsonl"
    file.write_bytes("\n".join(found).encode("utf-8", "surrogatepass"))
    return file


def test_values_of_every_kind_become_cells(tmp_path: Path) -> None:
    file = lines(
        tmp_path,
        '\ufeff{"text": " a ", "label": 3, "sure": true, "score": 0.5}',
        "",
        '{"label": 7.0, "text": "b", "sure": false, "tags": ["x"], "score": NaN, "late": "z"}',
        '{"text": null, "label": -1, "tags": "plain"}',
    )
    table = read_json_rows(file)
    assert table.header == ("text", "label", "sure", "score", "late"), "nested keys are no columns"
    assert table.rows == (("a", "3", "true", "0.5", ""), ("b", "7", "false", "", "z"), ("", "-1", "", "", ""))


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (['{"text": "a", "label": 1}', "{"], "line 2 is no JSON"),
        (["[1, 2]"], "line 1 is no JSON object"),
        (["[" * 100_000], "line 1 is no JSON"),
        (['{"text": "a"}'], "needs a text and a label"),
        (["", " "], "has no line"),
        (['{"a": 1, "b": ' + "9" * 5000 + "}"], "line 1 is no JSON"),
    ],
)
def test_lines_that_can_t_be_used_are_named(found: list[str], why: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        read_json_rows(lines(tmp_path, *found))
    assert caught.value.key == "task.data_dir"
    assert "any.jsonl" in str(caught.value)


def test_halves_of_characters_are_read_as_question_marks(tmp_path: Path) -> None:
    found = ['{"text": "a \\ud800 dog", "label": "d"}', '{"text": "a cat", "label": "c"}'] * 3
    assert "a? dog" in decoded(load("jsonl", lines(tmp_path, *found)))


def test_the_file_is_found_in_a_folder(tmp_path: Path) -> None:
    only = lines(tmp_path, "{}")
    assert json_file(tmp_path) == json_file(only) == only
    (tmp_path / "b.ndjson").write_text("{}", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"several JSON lines files \('any.jsonl', 'b.ndjson'\)"):
        json_file(tmp_path)
    (tmp_path / "texts.jsonl").write_text("{}", encoding="utf-8")
    assert json_file(tmp_path) == tmp_path / "texts.jsonl"


@both
def test_no_column_to_part_by_is_named(kind: str, tmp_path: Path) -> None:
    write(tmp_path, kind, pets())
    with pytest.raises(ConfigError, match=r"no such column; .* has the columns text, label"):
        load_ids(TaskSection(dataset=kind, data_dir=str(tmp_path), train_samples=0), "site")


def test_halves_of_characters_are_no_text_of_a_class(tmp_path: Path) -> None:
    """JSON can spell them; no request, page or file name can hold them."""
    (tmp_path / "texts.jsonl").write_text(json.dumps(pets()).replace("cat", "c\\ud83dt")[1:-1].replace("}, {", "}\n{"))
    data = load("jsonl", tmp_path)
    assert data.info.class_names == ("c?t", "dog")
    assert "".join(decoded(data)).isprintable()


@pytest.mark.parametrize("length", [200_000, 1_100_000])
def test_a_first_line_without_end_is_an_error_of_the_table(tmp_path: Path, length: int) -> None:
    before = csv.field_size_limit(131_072)  # what a fresh process has
    try:
        (tmp_path / "texts.csv").write_text("a" * length + ",label\nx,dog\n")
        with pytest.raises(ConfigError, match=r"task\.(image_column|data_dir)"):
            load("csv", tmp_path)
    finally:
        csv.field_size_limit(before)
