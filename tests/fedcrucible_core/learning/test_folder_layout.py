"""Which pictures of a folder are which class of which split, and what is no data."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.datasets import listing
from fedcrucible_core.learning.datasets.folder_layout import list_folder


def touch(root: Path, *names: str) -> Path:
    """Empty files; nothing is opened here."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def layout(root: Path) -> dict[str, list[tuple[str, str]]]:
    found = list_folder(root)
    return {
        split: [(found.classes[item.label], item.file.relative_to(root).as_posix()) for item in items]
        for split, items in found.splits.items()
    }


def test_class_folders_alone_are_training_pictures(tmp_path: Path) -> None:
    touch(tmp_path, "dog/b.PNG", "dog/a.jpg", "cat/deep/er/c.webp", "cat/a.jpeg")
    assert layout(tmp_path) == {
        "train": [("cat", "cat/a.jpeg"), ("cat", "cat/deep/er/c.webp"), ("dog", "dog/a.jpg"), ("dog", "dog/b.PNG")]
    }


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("Training", "validation", "TEST"), ("TRAIN", "valid", "testing")]
)
def test_folders_of_splits_by_any_usual_name(names, tmp_path: Path) -> None:
    for name in names:
        touch(tmp_path, f"{name}/cat/1.png", f"{name}/dog/2.png")
    assert list(layout(tmp_path)) == ["train", "validation", "test"]
    assert layout(tmp_path)["test"] == [("cat", f"{names[2]}/cat/1.png"), ("dog", f"{names[2]}/dog/2.png")]


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    touch(tmp_path, "train/1.png", "plane/1.png", "test/1.png")
    assert list_folder(tmp_path).classes == ("plane", "test", "train")


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (("10", "9", "1"), ("1", "9", "10")),
        (("b", "A", "a1", "Z"), ("A", "Z", "a1", "b")),
        (("猫", "кот", "cat", "C", "C++"), ("C", "C++", "cat", "кот", "猫")),
        (("-1", "1"), ("-1", "1")),
    ],
)
def test_classes_are_ordered_by_code_points_and_numbers_by_size(names, order, tmp_path: Path) -> None:
    touch(tmp_path, *(f"{name}/1.png" for name in names))
    assert list_folder(tmp_path).classes == order


def test_the_encoding_of_a_name_is_not_its_order_nor_another_class(tmp_path: Path) -> None:
    touch(tmp_path, f"train/{unicodedata.normalize('NFD', 'é')}/1.png", "train/z/1.png", "test/é/1.png", "test/Z/1.png")
    found = list_folder(tmp_path)
    assert [unicodedata.normalize("NFC", name) for name in found.classes] == ["z", "é"]
    assert [item.label for item in found.splits["test"]] == [0, 1]


def test_what_systems_leave_behind_is_no_data(tmp_path: Path) -> None:
    touch(tmp_path, "cat/1.png", "dog/1.png", ".DS_Store", "Thumbs.db", "__MACOSX/cat/1.png", ".git/x.png")
    touch(tmp_path, "cat/.DS_Store", "cat/._1.png", "cat/Thumbs.db", "cat/.thumbnails/1.png", "cat/desktop.ini")
    found = list_folder(tmp_path)
    assert (found.classes, len(found.splits["train"]), len(found.skipped)) == (("cat", "dog"), 2, 0)


def test_what_is_passed_over_is_counted_with_examples(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "cat/1.png",
        "dog/1.png",
        "README.md",
        "cat/notes.txt",
        "cat/b.txt",
        "cat/c.txt",
        "cat/d.txt",
        "dog/raw",
    )
    os.mkfifo(tmp_path / "dog" / "pipe.png")
    (tmp_path / "dog" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    found = list_folder(tmp_path)
    assert dict(found.skipped.counts) == {
        "in no class folder": 1,
        "no picture by its name (.txt)": 4,
        "no picture by its name (no suffix)": 1,
        "no ordinary file": 1,
        "a broken symbolic link": 1,
    }
    assert found.skipped.notes()[0] == (
        f"skipped 4 files: no picture by its name (.txt) ({tmp_path}/cat/b.txt, {tmp_path}/cat/c.txt, "
        f"{tmp_path}/cat/d.txt, ...)"
    )


def test_symbolic_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    touch(tmp_path, "set/cat/1.png", "set/dog/1.png", "elsewhere/2.png")
    (tmp_path / "set" / "cat" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "dog" / "up").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "dog" / "self").symlink_to(tmp_path / "set" / "dog")
    found = list_folder(tmp_path / "set")
    files = [item.file.relative_to(tmp_path / "set").as_posix() for item in found.splits["train"]]
    assert files[:2] == ["cat/1.png", "cat/more/2.png"]
    assert "dog/1.png" in files
    assert len(files) < 10
    assert found.skipped.counts["a symbolic link to a folder above it"] >= 1


def test_names_of_files_are_safe_to_print(tmp_path: Path) -> None:
    touch(tmp_path, "cat/1.png", "dog/1.png", "cat/\x1b[31mred\n\u202e.txt")
    note = list_folder(tmp_path).skipped.notes()[0]
    assert not set(note) & {"\x1b", "\n", "\u202e"}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), "no class folders in .*, it is empty"),
        (("1.png", "2.jpg", "a.txt"), "no class folders in .*, 2 pictures lie directly in it"),
        (("test/cat/1.png", "val/cat/1.png"), "has 'test', 'validation' but no folder train"),
        (("train/cat/1.png", "val/cat/1.png", "valid/cat/1.png"), "'val', 'valid' are the same split twice"),
        (("train/1.png", "test/1.png"), "no class folders in 'test', 'train'"),
        (("train/cat/1.png", "plane/1.png"), "'train' look like splits and 'plane' like classes"),
        (("train/cat/1.png", "test/cat/1.png", "test/dog/1.png"), "the class 'dog' is in test but not in train"),
        (("Cat/1.png", "cat/1.png"), "the class folders 'Cat' and 'cat' differ only"),
        (("train/cat_a/1.png", "test/cat_a/1.png", "test/Cat-A/1.png"), "'cat_a' .*differ only|differ only"),
    ],
)
def test_layouts_that_can_not_be_meant_are_refused(files, message, tmp_path: Path) -> None:
    touch(tmp_path, *files)
    with pytest.raises(ConfigError, match=message) as caught:
        list_folder(tmp_path)
    assert caught.value.key == "task.data_dir"


def test_a_test_folder_without_classes_has_no_labels(tmp_path: Path) -> None:
    touch(tmp_path, "train/cat/1.png", "train/dog/1.png", "test/1.png", "test/2.png")
    found = list_folder(tmp_path)
    assert (list(found.splits), found.classes) == (["train"], ("cat", "dog"))
    assert dict(found.skipped.counts) == {"in a split without class folders, so without a label": 2}


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"task\.data_dir = .*no such folder"):
        list_folder(tmp_path / "nowhere")


def test_a_whole_disk_is_refused_before_it_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fedcrucible_core.learning.datasets import folder_layout

    monkeypatch.setattr(folder_layout, "MOST_PICTURES", 3)
    assert listing.MOST_PICTURES > 1_000_000
    touch(tmp_path, *(f"cat/{i}.png" for i in range(3)), "dog/1.png")
    with pytest.raises(ConfigError, match=r"has more than 3 pictures; allowed: fewer"):
        list_folder(tmp_path)
