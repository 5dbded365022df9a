"""Folders of somebody's own pictures, from files to tensors: what is used, what is left out, what is refused."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.load import DATA_IS_THE_PLACE
from fedcrucible_core.config.sections import TaskSection
from fedcrucible_core.learning.datasets import DATASETS, dataset_source, load_task, read_pictures
from fedcrucible_core.learning.datasets.own import OwnData
from tests.support.own_pictures import CLASSES, COLOURS, picture, write_folder


def load(place: Path, name: str = "folder", **settings: object):
    chosen = {"train_samples": 0, "validation_fraction": 0.0, "image_size": 16} | settings
    return load_task(TaskSection(dataset=name, data_dir=str(place), **chosen))


def bomb(file: Path, side: int = 50_000) -> None:
    """A valid PNG header of ``side`` x ``side`` pixels in a few bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    file.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


def test_class_folders_of_colour_pictures_of_two_sizes(tmp_path: Path) -> None:
    splits = load(write_folder(tmp_path, 10))
    assert splits.info.class_names == CLASSES
    assert splits.info.shape == (3, 16, 16)
    assert (splits.info.mean, splits.info.std) == ((0.5,) * 3, (0.5,) * 3)
    assert (len(splits.train), len(splits.test)) == (24, 6)
    assert splits.test.labels.bincount().tolist() == [2, 2, 2]
    for label, colour in enumerate(COLOURS[:3]):
        mean = splits.train.inputs[splits.train.labels == label].float().mean((0, 2, 3))
        assert torch.allclose(mean, torch.tensor(colour, dtype=torch.float32), atol=8)
    assert splits.notes == ("folder has no test split: 6 of its 30 training images are set aside for tests",)


def test_pictures_of_one_size_stay_as_they_are(tmp_path: Path) -> None:
    splits = load(write_folder(tmp_path, 5, size=(48, 40)), image_size=0)
    assert splits.info.shape == (3, 40, 48)
    assert splits.train.inputs.dtype == torch.uint8


def test_several_sizes_need_to_be_told_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"found 2 sizes, e\.g\. 36 x 36, 48 x 40 pixels; set task\.image_size"):
        load(write_folder(tmp_path, 5), image_size=0)


def test_folders_of_splits(tmp_path: Path) -> None:
    for name, count in (("train", 6), ("val", 2), ("test", 3)):
        write_folder(tmp_path / name, count)
    splits = load(tmp_path)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [18, 6, 9]
    assert splits.notes == ()


def test_grey_only_where_every_picture_is(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(4):
            Image.new("L", (8, 8), 50 * i).save(tmp_path / name / f"{i}.png")
    assert load(tmp_path, image_size=0).info.shape == (1, 8, 8)
    picture(0, 0, (8, 8)).save(tmp_path / "b" / "4.png")
    assert load(tmp_path, image_size=0, test_fraction=0.3).info.shape == (3, 8, 8)


def test_what_is_no_usable_picture_is_left_out_and_said(tmp_path: Path) -> None:
    write_folder(tmp_path, 6)
    whole = (tmp_path / "plum" / "000.png").read_bytes()
    (tmp_path / "plum" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "plum" / "cut too.png").write_bytes(whole[: len(whole) // 3])
    (tmp_path / "plum" / "page.jpg").write_text("<!DOCTYPE html><html>not found</html>")
    (tmp_path / "plum" / "empty.gif").touch()
    (tmp_path / "plum" / "vector.png").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    Image.fromarray(np.full((8, 8), 700.0, dtype=np.float32)).save(tmp_path / "plum" / "float.tiff")
    bomb(tmp_path / "apple" / "bomb.png")
    (tmp_path / "apple" / "notes.docx").touch()
    splits = load(tmp_path)
    assert len(splits.train) + len(splits.test) == 18
    notes = "\n".join(splits.notes)
    for said in (
        f"skipped 2 files: truncated or damaged ({tmp_path}/plum/cut too.png, {tmp_path}/plum/cut.png)",
        f"skipped 1 file: an HTML page, not a picture ({tmp_path}/plum/page.jpg)",
        f"skipped 1 file: empty ({tmp_path}/plum/empty.gif)",
        f"skipped 1 file: too large ({tmp_path}/apple/bomb.png)",
        f"skipped 1 file: mode F ({tmp_path}/plum/float.tiff)",
        f"skipped 1 file: no picture by its name (.docx) ({tmp_path}/apple/notes.docx)",
        "not a picture",
    ):
        assert said in notes


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_picture_that_may_not_be_read_is_left_out(tmp_path: Path) -> None:
    write_folder(tmp_path, 4)
    (tmp_path / "plum" / "000.png").chmod(0)
    assert any("may not be read" in note for note in load(tmp_path, test_fraction=0.3).notes)


def test_a_class_without_any_usable_picture_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, 4)
    for file in (tmp_path / "plum").iterdir():
        file.write_text("<html>")
    with pytest.raises(ConfigError, match=r"no usable training picture of 'plum'; skipped 4 files: an HTML page"):
        load(tmp_path)


def test_an_empty_class_folder_is_refused(tmp_path: Path) -> None:
    (write_folder(tmp_path, 4) / "unripe").mkdir()
    with pytest.raises(ConfigError, match=r"no usable training picture of 'unripe'"):
        load(tmp_path)


def test_a_class_of_the_validation_split_alone_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", 3)
    write_folder(tmp_path / "val", 3, (*CLASSES, "quince"))
    with pytest.raises(ConfigError, match=r"no usable training picture of 'quince' \(but in validation\)"):
        load(tmp_path)


def test_a_class_that_the_test_split_lacks_is_a_note(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", 3)
    write_folder(tmp_path / "test", 3, CLASSES[:2])
    (tmp_path / "test" / "plum").mkdir()
    assert load(tmp_path).notes == ("test has no picture of 'plum'",)


def test_a_test_split_of_which_nothing_can_be_used_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", 3)
    (tmp_path / "test" / "apple").mkdir(parents=True)
    (tmp_path / "test" / "apple" / "1.png").write_text("<html>")
    with pytest.raises(ConfigError, match=r"no usable picture in test; skipped 1 file: an HTML page"):
        load(tmp_path)


def test_a_place_within_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "fruit", 5)
    assert load(tmp_path, "folder:fruit").info.name == "folder:fruit"
    assert len(load(tmp_path / "elsewhere", f"folder:{tmp_path / 'fruit'}").train) == 12
    monkeypatch.setenv("FEDCRUCIBLE_DATA", str(tmp_path / "fruit"))
    assert len(load_task(TaskSection(dataset="folder", train_samples=0, image_size=8)).info.class_names) == 3
    with pytest.raises(
        ConfigError, match=r"task\.data_dir = .*nothing is there; folder:nuts needs one folder per class"
    ):
        load(tmp_path, "folder:nuts")


def test_pictures_that_would_not_fit_in_memory_are_refused_after_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path, 20)
    opened: list[Path] = []
    real = read_pictures.read_pixels  # type: ignore[attr-defined]

    def counted(file: Path) -> Any:
        opened.append(file)
        return real(file)

    monkeypatch.setattr(read_pictures, "read_pixels", counted)
    monkeypatch.setattr(read_pictures, "MOST_BYTES", 60 * 16 * 16 * 3 - 1)
    with pytest.raises(
        ConfigError, match=r"task\.data_dir = .* GiB; set task\.image_size to a smaller side, or use fewer"
    ):
        load(tmp_path)
    assert len(opened) == 1
    monkeypatch.setattr(read_pictures, "MOST_BYTES", 60 * 16 * 16 * 3)
    assert len(load(tmp_path, test_fraction=0.25).train) == 45


def test_reading_is_the_same_wherever_the_folder_lies(tmp_path: Path) -> None:
    """Nodes and the server read their copies; the order of directory entries is the file system's own."""
    first, second = write_folder(tmp_path / "abc", 6), tmp_path / "xyz"
    for file in sorted(first.rglob("*.png"), reverse=True):
        (second / file.relative_to(first)).parent.mkdir(parents=True, exist_ok=True)
        (second / file.relative_to(first)).write_bytes(file.read_bytes())
    here, there = load(first), load(second)
    assert torch.equal(here.train.inputs, there.train.inputs)
    assert torch.equal(here.test.labels, there.test.labels)


def test_own_data_are_known_by_their_place() -> None:
    kinds = {name for name, cls in DATASETS.classes().items() if issubclass(cls, OwnData)}
    assert kinds == set(DATA_IS_THE_PLACE)
    for name in kinds:
        source = dataset_source(name)
        assert isinstance(source, OwnData)
        assert source.paper
        assert source.holds


def test_two_folders_are_two_data_sets_and_one_moved_set_is_one(tmp_path: Path) -> None:
    from fedcrucible_core.config.load import load as load_config
    from server_app.identity import identity

    def of(**settings: object):
        return identity(load_config({"strategy": "fedavg"} | {k.replace("__", "."): v for k, v in settings.items()}))

    assert of(task__dataset="folder", task__data_dir="/a") != of(task__dataset="folder", task__data_dir="/b")
    assert of(task__dataset="folder:x", task__data_dir="/a") == of(task__dataset="folder:x", task__data_dir="/b")
    assert of(task__dataset="mnist", task__data_dir="/a") == of(task__dataset="mnist", task__data_dir="/b")


def test_names_in_another_order_would_exchange_the_classes(tmp_path: Path) -> None:
    write_folder(tmp_path, 5)
    with pytest.raises(
        ConfigError, match=r"task\.class_names = 'Plum, Apple, banana': the classes' own names in another"
    ):
        load(tmp_path, class_names="Plum, Apple, banana")
    assert load(tmp_path, class_names="Apple, banana, PLUM").info.class_names == ("Apple", "banana", "PLUM")


@pytest.mark.parametrize("name", DATA_IS_THE_PLACE)
def test_own_data_need_a_place(name, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Not the cache of downloaded data, whatever lies there."""
    monkeypatch.delenv("FEDCRUCIBLE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    write_folder(tmp_path / "fedcrucible" / "data", 2)
    with pytest.raises(ConfigError, match=rf"task\.data_dir = '': task\.dataset = '{name}' needs a place: "):
        load_task(TaskSection(dataset=name))
