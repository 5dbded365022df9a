"""Tables of paths and labels: separators, columns, splits, paths, labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.sections import TaskSection
from fedcrucible_core.learning.datasets import load_task
from fedcrucible_core.learning.datasets.csv_rows import csv_file, read_rows
from fedcrucible_core.learning.datasets.load import load_ids
from tests.support.own_pictures import picture, write_table


def pictures(folder: Path, count: int = 6) -> list[str]:
    """Files 0.png.. of two classes in turn, beside the table."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        picture(i % 2, i, (8, 8)).save(folder / f"{i}.png")
    return [f"{i}.png" for i in range(count)]


def rows_of(folder: Path, count: int = 6) -> list[list[str]]:
    return [[name, ("cat", "dog")[i % 2]] for i, name in enumerate(pictures(folder, count))]


def load(place: Path, **settings: object):
    chosen = {"train_samples": 0, "validation_fraction": 0.0, "test_fraction": 0.34} | settings
    return load_task(TaskSection(dataset="csv", data_dir=str(place), **chosen))


def counts(splits) -> tuple[int, int, int]:
    return len(splits.train), len(splits.validation), len(splits.test)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_separators_and_byte_order_marks(delimiter, encoding, tmp_path: Path) -> None:
    rows = [[name, "chat, noir" if label == "cat" else "chien; été"] for name, label in rows_of(tmp_path)]
    file = write_table(tmp_path / "any.csv", rows, delimiter=delimiter, encoding=encoding, lineterminator="\r\n")
    splits = load(file)
    assert splits.info.class_names == ("chat, noir", "chien; été")
    assert splits.info.shape == (3, 8, 8)
    assert counts(splits) == (4, 0, 2)


def test_quotes_newlines_and_blank_lines(tmp_path: Path) -> None:
    pictures(tmp_path)
    (tmp_path / "a,b.png").write_bytes((tmp_path / "0.png").read_bytes())
    text = '\n"path",label\n"a,b.png","the ""big"" cat"\n\n 1.png , dog \n2.png,"the ""big"" cat"\n3.png,dog\n'
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    assert load(tmp_path, test_fraction=0.5).info.class_names == ("dog", 'the "big" cat')


@pytest.mark.parametrize("first", ["sep=;", "\ufeffSEP=;", '"sep=;"', "sep=;;;;"])
def test_a_spreadsheets_own_marks(first, tmp_path: Path) -> None:
    """Excel's first line, and the nameless columns that it leaves at the right."""
    pictures(tmp_path)
    rows = [f"{i}.png;{label};;" for i, label in enumerate(["a, b", "c"] * 3)]
    (tmp_path / "x.csv").write_text("\r\n".join([first, "path;label;;", *rows]), encoding="utf-8")
    assert load(tmp_path / "x.csv").info.class_names == ("a, b", "c")
    (tmp_path / "y.csv").write_text(f"{first}\npath;label\n0.png;a\n1.png", encoding="utf-8")
    with pytest.raises(ConfigError, match="line 4 has 1 columns, the header 2"):
        load(tmp_path / "y.csv")


def test_the_file_in_a_folder(tmp_path: Path) -> None:
    assert csv_file(write_table(tmp_path / "one.tsv", rows_of(tmp_path))) == tmp_path / "one.tsv"
    assert csv_file(tmp_path) == tmp_path / "one.tsv"
    write_table(tmp_path / "two.csv", [])
    with pytest.raises(ConfigError, match=r"holds several CSV files \('one.tsv', 'two.csv'\); name one"):
        csv_file(tmp_path)
    write_table(tmp_path / "labels.csv", [])
    assert csv_file(tmp_path) == tmp_path / "labels.csv"
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="holds no CSV file"):
        csv_file(tmp_path / "empty")


@pytest.mark.parametrize(
    ("header", "settings", "message"),
    [
        (("path", "label", "image"), {}, r"task\.image_column = '': 'path', 'image' could each be it"),
        (("path", "label", "target"), {}, r"task\.label_column = '': 'label', 'target' could each be it"),
        (
            ("a", "label", "c"),
            {},
            r"task\.image_column = '': no column has a usual name; name one of 'a', 'label', 'c'",
        ),
        (("path", "label", "c"), {"image_column": "pth"}, r"task\.image_column = 'pth': did you mean 'path'\?"),
        (
            ("path", "label", "c"),
            {"label_column": "path"},
            r"task\.label_column = 'path': is the column of paths as well",
        ),
        (("path", "label", "label"), {}, r"names the column 'label' twice"),
    ],
)
def test_columns_that_are_not_clear(header, settings, message, tmp_path: Path) -> None:
    write_table(tmp_path / "labels.csv", [[*row, "x"] for row in rows_of(tmp_path)], header)
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, **settings)


def test_columns_by_name_and_by_key(tmp_path: Path) -> None:
    rows = [[name, "no", label, "mask.png"] for name, label in rows_of(tmp_path)]
    write_table(tmp_path / "labels.csv", rows, ("File Name", "kind", "Class", "mask"))
    assert load(tmp_path).info.class_names == ("cat", "dog")
    write_table(tmp_path / "labels.csv", rows, ("path", "class", "animal", "image"))
    splits = load(tmp_path, image_column="path", label_column="animal", test_fraction=0.3)
    assert splits.info.class_names == ("cat", "dog")


def test_a_column_of_splits(tmp_path: Path) -> None:
    places = ["train", "Train", "VAL", "validation", "test", "testing"]
    rows = [[*row, place] for row, place in zip(rows_of(tmp_path), places, strict=True)]
    write_table(tmp_path / "labels.csv", rows, ("path", "label", "Split"))
    splits = load(tmp_path)
    assert counts(splits) == (2, 2, 2)
    assert not any("set aside" in note for note in splits.notes)
    rows[0][2] = "fold 3"
    write_table(tmp_path / "labels.csv", rows, ("path", "label", "split"))
    with pytest.raises(ConfigError, match=r"column 'split' holds 'fold 3' in 1 rows; allowed: train, val"):
        load(tmp_path, test_fraction=0.4)


def test_whole_numbers_are_ordered_by_size(tmp_path: Path) -> None:
    rows = [[name, str([10, 9, 2][i % 3])] for i, (name, _) in enumerate(rows_of(tmp_path))]
    write_table(tmp_path / "labels.csv", rows)
    assert load(tmp_path).info.class_names == ("2", "9", "10")


def test_paths_are_relative_to_the_table_absolute_or_of_windows(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "pictures" / "deep")
    text = [["pictures/deep/0.png", "cat"], ["pictures\\deep\\1.png", "dog"], ["./pictures/deep/2.png", "cat"],
            [str(tmp_path / "pictures" / "deep" / "3.png"), "dog"], ["pictures/../pictures/deep/4.png", "cat"],
            ["pictures/deep/5.png", "dog"]]  # fmt: skip
    assert len(rows) == len(text)
    write_table(tmp_path / "labels.csv", text)
    assert counts(load(tmp_path)) == (4, 0, 2)
    assert load(tmp_path).notes == (load(tmp_path).notes[0],)


def test_what_is_missing_is_counted(tmp_path: Path) -> None:
    rows = [
        *rows_of(tmp_path),
        ["gone.png", "cat"],
        ["", "dog"],
        ["https://example.org/x.png", "cat"],
        ["x" * 300, "cat"],
    ]
    write_table(tmp_path / "labels.csv", [*rows, rows[0]])
    notes = " | ".join(load(tmp_path).notes)
    assert "skipped 2 files: missing (" in notes
    assert "gone.png" in notes
    assert "skipped 1 file: a row without a path" in notes
    assert "skipped 1 file: an address, not a file (nothing is downloaded) (https://example.org/x.png)" in notes
    assert "skipped 1 file: listed twice" in notes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.append(["0.png", "dog"]), r"lists '0\.png' twice, as 'cat' and as 'dog'"),
        (lambda rows: rows.append(["./0.png", "dog"]), r"lists '0\.png' twice"),
        (lambda rows: rows.append(["0.png", "dog", "x"]), r"line 8 has 3 columns, the header 2"),
        (lambda rows: rows.append(["0.png", "Dog "]), r"the labels 'dog' and 'Dog' differ only"),
        (lambda rows: [row.__setitem__(0, "gone.png") for row in rows], r"no usable picture in train; .* missing"),
        (lambda rows: rows.append(["gone.png", "fox"]), r"no usable training picture of 'fox'; skipped 1 file"),
        (lambda rows: rows[1].__setitem__(1, ""), r"1 of 6 labels of the train split are missing"),
        (lambda rows: rows.clear(), r"has a header but no rows"),
    ],
)  # fmt: skip
def test_tables_that_are_refused(change, message, tmp_path: Path) -> None:
    rows = rows_of(tmp_path)
    change(rows)
    write_table(tmp_path / "labels.csv", rows)
    with pytest.raises(ConfigError, match=message):
        load(tmp_path)


def test_one_picture_in_two_splits_is_refused(tmp_path: Path) -> None:
    rows = [[*row, "train"] for row in rows_of(tmp_path)]
    write_table(tmp_path / "labels.csv", [*rows, ["1.png", "dog", "test"]], ("path", "label", "split"))
    with pytest.raises(ConfigError, match=r"lists '1\.png' twice, in train and in test"):
        load(tmp_path)


def test_a_test_split_without_labels_is_not_measured_on(tmp_path: Path) -> None:
    rows = [[*row, "train"] for row in rows_of(tmp_path, 8)]
    for row in rows[6:]:
        row[1:] = ["", "test"]
    write_table(tmp_path / "labels.csv", rows, ("path", "label", "split"))
    splits = load(tmp_path, validation_fraction=0.34)
    assert (splits.test.labels >= 0).all()
    assert any("test" in note and "label" in note for note in splits.notes)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x89PNG\r\n\x1a\n\x00\x00", "is no UTF-8 text|is no text"),
        ("path,label\na.png,café\n".encode("latin-1"), "is no UTF-8 text"),
        (b"", "needs a header"),
        (b"just one column\na.png\n", "needs a header"),
        (b"path,label\na\0.png,x\n", "is no text"),
    ],
)
def test_what_is_no_table(content, message, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_rows(tmp_path / "x.csv")


def test_another_column_parts_the_data(tmp_path: Path) -> None:
    rows = [[*row, site] for row, site in zip(rows_of(tmp_path), ["b", "a", "a", "b", "a", "a"], strict=True)]
    rows.insert(0, ["gone.png", "cat", "c"])
    write_table(tmp_path / "labels.csv", rows, ("path", "label", "site"))
    task = TaskSection(
        dataset="csv", data_dir=str(tmp_path), train_samples=0, validation_fraction=0.0, test_fraction=0.34
    )
    train, ids = load_task(task).train, load_ids(task, "site")
    assert [rows[row][2] for row in train.rows.tolist()] == [("a", "b")[i] for i in ids]
    with pytest.raises(
        ConfigError, match=r"partition\.by-column\.column = 'town': .*csv has the columns path, label, site"
    ):
        load_ids(task, "town")
