"""Own pictures as arrays: names, layouts, scales, labels, and nothing unpickled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import DTypeLike

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.sections import TaskSection
from fedcrucible_core.learning.datasets import load_task, read_pictures


def images(count: int, *shape: int, dtype: DTypeLike = np.uint8) -> np.ndarray:
    """Constant pictures 0, 10, 20, .."""
    made = np.empty((count, *shape), dtype=np.uint8)
    made[:] = (10 * np.arange(count)).reshape(-1, *[1] * len(shape))
    return np.asarray(made.astype(dtype))


def save(folder: Path, **arrays: object) -> Path:
    np.savez(folder / "set.npz", **arrays)
    return folder / "set.npz"


def load(place: Path, **settings: object):
    chosen = {"train_samples": 0, "validation_fraction": 0.0, "test_fraction": 0.5} | settings
    return load_task(TaskSection(dataset="npz", data_dir=str(place), **chosen))


LABELS = np.arange(12) % 3


@pytest.mark.parametrize(
    ("names", "sizes"),
    [
        (("x_train", "y_train", "x_test", "y_test"), (12, 0, 12)),
        (("X_train", "Y_train", "x_test", "y_test"), (12, 0, 12)),
        (("train_images", "train_labels", "val_images", "val_labels", "test_images", "test_labels"), (12, 12, 12)),
        (("x_train", "y_train", "x_valid", "y_valid"), (6, 12, 6)),
        (("images", "labels"), (6, 0, 6)),
        (("x", "y"), (6, 0, 6)),
    ],
)
def test_usual_names_of_arrays(names, sizes, tmp_path: Path) -> None:
    arrays = {name: images(12, 8, 8) if i % 2 == 0 else LABELS for i, name in enumerate(names)}
    splits = load(save(tmp_path, **arrays, comment=np.array("made up")))
    assert (len(splits.train), len(splits.validation), len(splits.test)) == sizes
    assert splits.info.class_names == ("0", "1", "2")
    assert load(tmp_path).info.shape == (1, 8, 8)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((8, 6), (1, 8, 6)),
        ((8, 6, 1), (1, 8, 6)),
        ((1, 8, 6), (1, 8, 6)),
        ((8, 6, 3), (3, 8, 6)),
        ((3, 8, 6), (3, 8, 6)),
    ],
)
def test_layouts(shape, expected, tmp_path: Path) -> None:
    splits = load(save(tmp_path, images=images(12, *shape), labels=LABELS[:, None]))
    assert splits.info.shape == expected
    pictures = torch.cat([splits.train.inputs, splits.test.inputs]).flatten(1)
    assert sorted(pictures.float().mean(1).tolist()) == [10.0 * i for i in range(12)]


@pytest.mark.parametrize(
    "given",
    [
        images(12, 8, 8).astype(np.uint16) * 257,
        images(12, 8, 8).astype(np.float32) / 255,
        images(12, 8, 8).astype(np.float64) / 255,
        images(12, 8, 8).astype(np.int64),
    ],
    ids=["uint16", "float32", "float64", "int64"],
)
def test_scales_that_are_known(given, tmp_path: Path) -> None:
    splits = load(save(tmp_path, images=given, labels=LABELS))
    pictures = torch.cat([splits.train.inputs, splits.test.inputs]).flatten(1)
    assert sorted(pictures.float().mean(1).tolist()) == [10.0 * i for i in range(12)]


def test_images_are_resized(tmp_path: Path) -> None:
    assert load(save(tmp_path, images=images(12, 9, 7, 3), labels=LABELS), image_size=16).info.shape == (3, 16, 16)


@pytest.mark.parametrize(
    ("labels", "more", "names"),
    [
        (LABELS, {"class_names": ["ant", "bee", "cicada"]}, ("ant", "bee", "cicada")),
        (np.array(["bee", "ant"])[LABELS % 2], {}, ("ant", "bee")),
        (np.array(["bee", "ant"])[LABELS % 2], {"class_names": ["Bee", "Ant"]}, ("Bee", "Ant")),
        (np.array([b"bee", b"ant"])[LABELS % 2], {}, ("ant", "bee")),
        (LABELS % 2 == 0, {}, ("False", "True")),
        (LABELS.astype(np.float32), {}, ("0", "1", "2")),
        (np.array([10, 9, 2])[LABELS], {}, ("2", "9", "10")),
        (np.array(["猫", "狗"])[LABELS % 2], {}, ("狗", "猫")),
    ],
)
def test_labels_of_any_kind(labels, more, names, tmp_path: Path) -> None:
    assert load(save(tmp_path, images=images(12, 8, 8), labels=labels, **more)).info.class_names == names


def test_a_name_for_each_label(tmp_path: Path) -> None:
    file = save(tmp_path, images=images(12, 8, 8), labels=np.array(["b", "a"])[LABELS % 2], class_names=["B", "A"])
    train = load(file).train
    expected = {10 * i: int(LABELS[i] % 2) for i in range(12)}
    assert {
        int(x[0, 0, 0]): int(y) for x, y in zip(train.inputs, train.labels, strict=True)
    }.items() <= expected.items()


def objects(values: list[object]) -> np.ndarray:
    made = np.empty(len(values), dtype=object)
    made[:] = values
    return made


class Evil:
    ran = False

    def __reduce__(self):
        return (setattr, (Evil, "ran", True))


TWELVE = images(12, 8, 8)
WHOLE = {"images": TWELVE, "labels": LABELS}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": TWELVE, "labels": objects(["a"] * 12)}, r"holds Python objects in 'labels', which"),
        ({"images": objects([images(1, 8, 8)] * 12), "labels": LABELS}, r"holds Python objects in 'images'"),
        (WHOLE | {"class_names": objects(["a", "b", "c"])}, r"in 'class_names'"),
        ({"images": TWELVE, "labels": objects([Evil()] * 12)}, r"never read \(they could run code\)"),
        ({"images": TWELVE, "labels": LABELS[:5]}, r"images is \[12, 8, 8\], labels is \[5\]; both need one"),
        ({"images": TWELVE}, r"has 'images' but no 'labels'"),
        ({"x_train": TWELVE, "y_train": LABELS, "x_test": TWELVE}, r"has 'x_test' but no 'y_test'"),
        ({"pictures": TWELVE, "kinds": LABELS}, r"has the arrays 'kinds', 'pictures'; needs x_train"),
        ({"x_test": TWELVE, "y_test": LABELS}, r"has the arrays 'x_test', 'y_test'; needs x_train"),
        (WHOLE | {"x": TWELVE, "y": LABELS}, r"'images', 'x' could each be train"),
        ({"x_val": TWELVE, "y_val": LABELS, "x_valid": TWELVE, "y_valid": LABELS}, r"could each be validation"),
        ({"images": TWELVE, "labels": np.eye(3)[LABELS]}, r"labels is float64 \[12, 3\]; allowed"),
        ({"images": images(12, 64), "labels": LABELS}, r"shape \[64\]"),
        ({"images": images(12, 8, 8, 5), "labels": LABELS}, r"shape \[8, 8, 5\]"),
        ({"images": images(12, 8, 8, dtype=np.float32) - 0.5, "labels": LABELS}, r"values -0\.5\.\.109\.5"),
        ({"images": images(12, 8, 8, dtype=np.float32) * np.nan, "labels": LABELS}, r"aren't finite"),
        ({"images": images(12, 8, 8, dtype=np.int32) * 100, "labels": LABELS}, r"values 0\.\.11000"),
        ({"images": images(12, 8, 8, dtype=complex), "labels": LABELS}, r"not arrays of numbers"),
        ({"images": TWELVE, "labels": LABELS + 0.5}, r"0\.5"),
        (WHOLE | {"class_names": ["a", "b"]}, r"the label '2' is none of the 2 in class_names"),
        (WHOLE | {"class_names": ["a", "b", "A"]}, r"the class names 'a' and 'A' differ only"),
        (WHOLE | {"class_names": ["a", "b", "c", "d"]}, r"no usable training picture of 'd'"),
        ({"images": TWELVE, "labels": LABELS - 1}, r"4 of 12 labels of the train split are missing"),
        ({"images": images(0, 8, 8), "labels": LABELS[:0]}, r"no usable picture in train"),
    ],
)  # fmt: skip
def test_arrays_that_are_refused(arrays, message, tmp_path: Path) -> None:
    if "x_val" in arrays:
        arrays = arrays | {"x_train": images(12, 8, 8), "y_train": LABELS}
    with pytest.raises(ConfigError, match=message):
        load(save(tmp_path, **arrays))
    assert not Evil.ran


def test_a_class_of_the_test_split_alone_is_refused(tmp_path: Path) -> None:
    file = save(tmp_path, x_train=images(12, 8, 8), y_train=LABELS, x_test=images(12, 8, 8), y_test=LABELS + 1)
    with pytest.raises(ConfigError, match=r"no usable training picture of '3' \(but in test\)"):
        load(file)


def test_a_set_that_would_not_fit_in_memory_is_refused_by_its_headers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = save(tmp_path, images=images(12, 8, 8), labels=LABELS.astype(np.int8))
    monkeypatch.setattr(read_pictures, "MOST_BYTES", 12 * 64)
    with pytest.raises(ConfigError, match=r"GiB"):
        load(file)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", b"\x93NUMPY"])
def test_what_is_no_npz_file(content, tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ConfigError, match=r"is no readable NPZ file"):
        load(tmp_path)


def test_a_damaged_array_is_refused(tmp_path: Path) -> None:
    file = save(tmp_path, images=images(12, 8, 8), labels=LABELS)
    content = bytearray(file.read_bytes())
    content[400] ^= 0xFF  # within the pixels: the archive's checksum finds it
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"is damaged|is no readable NPZ file"):
        load(file)


def test_the_file_in_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no NPZ file"):
        load(tmp_path)
    save(tmp_path, images=images(12, 8, 8), labels=LABELS)
    (tmp_path / "other.npz").touch()
    with pytest.raises(ConfigError, match=r"holds several NPZ files \('other.npz', 'set.npz'\); name one"):
        load(tmp_path)
