"""Hugging Face data sets as they lie on the hub: their columns, labels, pictures and splits."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fedcrucible.commands.prepare import prepare as prepare_command
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.sections import TaskSection
from fedcrucible_core.learning.datasets import load_ids, load_task, prepare
from fedcrucible_core.learning.datasets.labels import class_numbers
from fedcrucible_core.learning.partition import ByColumnPartitioner
from fedcrucible_core.learning.partition.shares import partition_indices

datasets = pytest.importorskip("datasets")
PICTURE = datasets.Image()
TEXT, WHOLE, TRUTH, FRACTION = (datasets.Value(kind) for kind in ("string", "int64", "bool", "float32"))
CLASSES = datasets.ClassLabel(names=["tabby_cat", "dog"])


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("FLWR_TELEMETRY_ENABLED", "0")
    monkeypatch.delenv("FEDCRUCIBLE_DATA", raising=False)
    datasets.disable_progress_bars()


def colours(count: int, mode: str = "RGB", size: tuple[int, int] = (6, 6)) -> list[Image.Image]:
    """Pictures whose first channel numbers them."""
    return [Image.new(mode, size, i if mode == "L" else (i, 90, 200)) for i in range(count)]


def save(root: Path, features: dict[str, Any], **splits: dict[str, Any]) -> None:
    """Save a data set ``own/set`` of columns in the hub library's own format."""
    kinds = datasets.Features(features)
    made = {
        name: datasets.Dataset.from_dict(
            columns, features=datasets.Features({key: kinds[key] for key in columns if key in kinds})
        )
        for name, columns in splits.items()
    }
    datasets.DatasetDict(made).save_to_disk(str(root / "hf" / "own--set"))


def task(root: Path, **settings: object) -> TaskSection:
    chosen = {"train_samples": 0, "validation_fraction": 0.0} | settings
    return TaskSection(dataset="hf:own/set", data_dir=str(root), **chosen)


def labelled(root: Path, kind: object, train: list[Any], test: list[Any], **more: list[Any]) -> None:
    """A set with pictures and one column of labels."""
    save(
        root,
        {"image": PICTURE, "label": kind},
        train={"image": colours(len(train)), "label": train},
        test={"image": colours(len(test)), "label": test},
        **{name: {"image": colours(len(labels)), "label": labels} for name, labels in more.items()},
    )


LABELS = {
    "text": (TEXT, ["dog", "cat", "dog"], ["cat", "emu"], ("cat", "dog", "emu"), [1, 0, 1], [0, 2]),
    "text with underscores": (TEXT, ["big_dog", "cat"], ["cat"], ("big dog", "cat"), [0, 1], [1]),
    "whole numbers with gaps": (WHOLE, [30, 7, 7], [100], ("7", "30", "100"), [1, 0, 0], [2]),
    "digits as text": (TEXT, ["10", "9", "2"], ["2"], ("2", "9", "10"), [2, 1, 0], [0]),
    "true and false": (TRUTH, [True, False, True], [False], ("False", "True"), [1, 0, 1], [0]),
    "whole numbers as floats": (FRACTION, [3.0, 1.0], [1.0], ("1", "3"), [1, 0], [0]),
    "classes": (CLASSES, [1, 0, 1], [0], ("tabby cat", "dog"), [1, 0, 1], [0]),
}


@pytest.mark.parametrize("case", LABELS)
def test_labels_of_every_kind_are_numbered_in_one_order(case, tmp_path: Path) -> None:
    kind, train, test, names, train_labels, test_labels = LABELS[case]
    labelled(tmp_path, kind, train, test)
    data = load_task(task(tmp_path))
    assert data.info.class_names == names
    assert data.train.labels.tolist() == train_labels
    assert data.test.labels.tolist() == test_labels
    assert data.train.inputs[:, 0, 0, 0].tolist() == list(range(len(train)))


def test_names_that_blanks_would_make_equal_stay_as_they_are(tmp_path: Path) -> None:
    labelled(tmp_path, TEXT, ["a_b", "a b"], ["a b"])
    assert load_task(task(tmp_path)).info.class_names == ("a b", "a_b")


BAD_LABELS = {
    "fractions": (FRACTION, [0.5, 1.0], [1.0], r"task.label_column = 'label': holds 0.5"),
    "several for one image": (
        datasets.Sequence(WHOLE), [[0, 1], [1]], [[0]], r"column label holds several labels for one image",
    ),
    "some missing in test": (CLASSES, [0, 1], [0, -1, None], r"2 of 3 labels of the test split are missing"),
    "some missing in train": (WHOLE, [0, -1, 1, 1], [0], r"1 of 4 labels of the train split are missing"),
    "some text missing": (TEXT, ["a", None, ""], ["a"], r"2 of 3 labels of the train split are missing"),
    "some not a number": (FRACTION, [1.0, float("nan")], [1.0], r"1 of 2 labels of the train split are missing"),
    "all missing in train": (CLASSES, [-1, -1], [0], r"2 of 2 labels of the train split are missing"),
    "missing in both": (
        CLASSES, [0, None], [1, None], r"1 of 2 labels of the train split .*; 1 of 2 labels of the test split",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_LABELS)
def test_labels_that_are_none_are_one_error_with_split_and_count(case, tmp_path: Path) -> None:
    kind, train, test, message = BAD_LABELS[case]
    labelled(tmp_path, kind, train, test)
    with pytest.raises(ConfigError, match=message):
        load_task(task(tmp_path))


def test_a_label_of_another_class_in_test_is_named_with_split_and_count(tmp_path: Path) -> None:
    def rows(names: list[str], labels: list[int]) -> datasets.Dataset:  # type: ignore[name-defined]
        features = datasets.Features({"image": PICTURE, "label": datasets.ClassLabel(names=names)})
        return datasets.Dataset.from_dict({"image": colours(len(labels)), "label": labels}, features=features)

    made = {"train": rows(["cat", "dog"], [0, 1, 1]), "test": rows(["dog", "emu", "cat"], [0, 1, 2])}
    datasets.DatasetDict(made).save_to_disk(str(tmp_path / "hf" / "own--set"))
    with pytest.raises(ConfigError, match=r"1 of 3 labels of the test split are no class \(e.g. 2; classes are 0 to 1"):
        load_task(task(tmp_path))
    assert class_numbers([0, 1, 2], made["test"].features["label"], ("cat", "dog")).tolist() == [1, 2, 0]
    assert class_numbers([0, None, 5, -1], CLASSES, CLASSES.names).tolist() == [0, -1, 5, -1]
    assert class_numbers(["dog", "emu"], TEXT, ("cat", "dog")).tolist() == [1, 2]


def test_a_column_of_ids_is_not_taken_for_labels(tmp_path: Path) -> None:
    names = [f"{i}.png" for i in range(60)]
    save(tmp_path, {"image": PICTURE, "file": TEXT}, train={"image": colours(60), "file": names})
    with pytest.raises(ConfigError, match="has 60 different labels for 60 training images: ids, not classes"):
        load_task(task(tmp_path))


@pytest.mark.parametrize("hidden", [[-1, -1], [None, None]])
@pytest.mark.parametrize("published", [True, False])
def test_a_test_split_without_labels_falls_back_to_validation(hidden, published, tmp_path: Path) -> None:
    labelled(tmp_path, CLASSES, [0, 1] * 5, hidden, **({"validation": [1, 0, 1]} if published else {}))
    data = load_task(task(tmp_path, validation_fraction=0.2))
    assert torch.equal(data.test.inputs, data.validation.inputs)
    assert len(data.test) == (3 if published else 2)
    assert data.notes == (
        "none of the 2 test images has a label",
        f"the {len(data.test)} validation images stand in for the test split",
    )


def test_a_test_split_without_labels_and_no_validation_is_refused(tmp_path: Path) -> None:
    labelled(tmp_path, CLASSES, [0, 1, 1], [-1])
    with pytest.raises(ConfigError, match=r"no labels and nothing is held out: set task.validation_fraction above 0"):
        load_task(task(tmp_path))


def test_a_test_split_without_the_column_of_labels_has_none(tmp_path: Path) -> None:
    save(
        tmp_path,
        {"image": PICTURE, "label": CLASSES},
        train={"image": colours(4), "label": [0, 1, 0, 1]},
        test={"image": colours(2)},
    )
    data = load_task(task(tmp_path, validation_fraction=0.5))
    assert data.notes[0] == "none of the 2 test images has a label"


def test_a_set_without_a_test_split_gives_a_stratified_part_of_train(tmp_path: Path) -> None:
    labels = [0] * 40 + [1] * 10
    save(tmp_path, {"image": PICTURE, "label": CLASSES}, train={"image": colours(50), "label": labels})
    data = load_task(task(tmp_path, test_fraction=0.2, validation_fraction=0.1))
    parts = [set(split.inputs[:, 0, 0, 0].tolist()) for split in (data.train, data.validation, data.test)]
    assert [len(part) for part in parts] == [36, 4, 10]
    assert set.union(*parts) == set(range(50))
    assert data.test.labels.bincount().tolist() == [8, 2]
    assert data.notes == ("hf:own/set has no test split: 10 of its 50 training images are set aside for tests",)
    assert torch.equal(data.test.inputs, load_task(task(tmp_path, test_fraction=0.2)).test.inputs)


@pytest.mark.parametrize("fraction", [0.01, 0.99])
def test_setting_nothing_or_everything_aside_is_refused(fraction, tmp_path: Path) -> None:
    save(tmp_path, {"image": PICTURE, "label": CLASSES}, train={"image": colours(4), "label": [0, 1, 0, 1]})
    with pytest.raises(ConfigError, match=rf"task.test_fraction = {fraction}: sets [04] of the [04] training images"):
        load_task(task(tmp_path, test_fraction=fraction))


@pytest.mark.parametrize("name", ["train", "full"])
def test_an_only_split_is_the_training_split(name, tmp_path: Path) -> None:
    save(tmp_path, {"image": PICTURE, "label": TEXT}, **{name: {"image": colours(5), "label": list("ababa")}})
    assert len(load_task(task(tmp_path)).train) == 4


def test_a_set_saved_without_splits_is_the_training_split(tmp_path: Path) -> None:
    rows = datasets.Dataset.from_dict({"image": colours(5), "label": list("ababa")}).cast_column("image", PICTURE)
    rows.save_to_disk(str(tmp_path / "hf" / "own--set"))
    assert len(load_task(task(tmp_path)).test) == 1


@pytest.mark.parametrize("name", ["validation", "valid", "val", "dev"])
def test_other_usual_names_are_measured_where_there_is_no_test(name, tmp_path: Path) -> None:
    save(
        tmp_path,
        {"image": PICTURE, "label": CLASSES},
        train={"image": colours(6), "label": [0, 1] * 3},
        **{name: {"image": colours(2), "label": [1, 0]}},
    )
    assert load_task(task(tmp_path)).test.labels.tolist() == [1, 0]


def test_a_damaged_copy_is_named(tmp_path: Path) -> None:
    (tmp_path / "hf" / "own--set").mkdir(parents=True)
    (tmp_path / "hf" / "own--set" / "dataset_dict.json").write_text("{")
    with pytest.raises(ConfigError, match="absent or damaged"):
        load_task(task(tmp_path))


class TestColumns:
    """Which columns are taken."""

    def columns(self, root: Path, features: dict[str, Any], **values: list[Any]) -> None:
        rows = {name: values.get(name, colours(6)) for name in features}
        save(root, features, train=rows, test=rows)

    def test_a_mask_is_never_trained_on(self, tmp_path: Path) -> None:
        features = {"mask": PICTURE, "picture": PICTURE, "label": CLASSES}
        self.columns(tmp_path, features, mask=colours(6, "L"), label=[0, 1] * 3)
        assert load_task(task(tmp_path)).info.shape[0] == 3
        assert load_task(task(tmp_path, image_column="mask")).info.shape[0] == 1

    def test_a_lone_mask_is_taken_only_when_asked_for(self, tmp_path: Path) -> None:
        self.columns(tmp_path, {"Mask": PICTURE, "label": CLASSES}, label=[0, 1] * 3)
        with pytest.raises(ConfigError, match=r"set task.image_column: only Mask holds pictures"):
            load_task(task(tmp_path))

    def test_one_that_is_not_a_mask_is_taken_whatever_its_name(self, tmp_path: Path) -> None:
        features = {"mask": PICTURE, "scan": PICTURE, "label": CLASSES}
        self.columns(tmp_path, features, mask=colours(6, "L"), label=[0, 1] * 3)
        assert load_task(task(tmp_path)).info.shape[0] == 3

    def test_several_pictures_are_refused_by_name(self, tmp_path: Path) -> None:
        self.columns(tmp_path, {"left": PICTURE, "right": PICTURE, "label": CLASSES}, label=[0, 1] * 3)
        with pytest.raises(ConfigError, match=r"the images \(left, right\): set task.image_column"):
            load_task(task(tmp_path))
        assert len(load_task(task(tmp_path, image_column="right")).train) == 6

    def test_several_labels_are_refused_by_name_and_usual_names_win(self, tmp_path: Path) -> None:
        features = {"image": PICTURE, "site": CLASSES, "species": CLASSES}
        self.columns(tmp_path, features, site=[0] * 3 + [1] * 3, species=[0, 1] * 3)
        with pytest.raises(ConfigError, match=r"the labels \(site, species\): set task.label_column"):
            load_task(task(tmp_path))
        assert load_task(task(tmp_path, label_column="species")).train.labels.tolist() == [0, 1] * 3

    def test_a_usual_name_goes_before_a_type(self, tmp_path: Path) -> None:
        features = {"image": PICTURE, "site": CLASSES, "Label": TEXT}
        self.columns(tmp_path, features, site=[0] * 6, Label=list("abcabc"))
        assert load_task(task(tmp_path)).info.class_names == ("a", "b", "c")

    def test_the_only_column_that_may_hold_labels_is_taken(self, tmp_path: Path) -> None:
        self.columns(tmp_path, {"image": PICTURE, "diagnosis": TEXT}, diagnosis=list("ababab"))
        assert load_task(task(tmp_path)).info.class_names == ("a", "b")

    def test_text_columns_are_ambiguous_too(self, tmp_path: Path) -> None:
        features = {"image": PICTURE, "patient": TEXT, "diagnosis": TEXT}
        self.columns(tmp_path, features, patient=list("pqrpqr"), diagnosis=list("ababab"))
        with pytest.raises(ConfigError, match=r"the labels \(patient, diagnosis\): set task.label_column"):
            load_task(task(tmp_path))

    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [
            ("image_column", "scan", r"task.image_column = 'scan': no such column; allowed: image"),
            ("image_column", "label", r"task.image_column = 'label': does not hold pictures; allowed: image"),
            ("label_column", "image", r"task.label_column = 'image': does not hold one label .*; allowed: label, site"),
        ],
    )
    def test_a_wrong_choice_is_answered_with_those_that_exist(self, key, value, message, tmp_path: Path) -> None:
        features = {"image": PICTURE, "label": CLASSES, "site": TEXT}
        self.columns(tmp_path, features, label=[0, 1] * 3, site=list("aabbcc"))
        with pytest.raises(ConfigError, match=message):
            load_task(task(tmp_path, **{key: value}))

    def test_sets_without_columns_refuse_the_keys(self) -> None:
        with pytest.raises(ConfigError, match=r"task.label_column = 'x': fashion-mnist-slice has no columns"):
            load_task(TaskSection(label_column="x"))

    def test_no_picture_or_no_label_at_all(self, tmp_path: Path) -> None:
        self.columns(tmp_path, {"size": WHOLE, "label": CLASSES}, size=list(range(6)), label=[0, 1] * 3)
        with pytest.raises(ConfigError, match=r"needs a column of images or texts, has size \(int64\), label"):
            load_task(task(tmp_path))


class TestPictures:
    """What rows may hold."""

    def save(self, root: Path, kind: object, train: list[Any], test: list[Any] | None = None) -> None:
        test = train[:2] if test is None else test
        save(
            root,
            {"image": kind, "label": WHOLE},
            train={"image": train, "label": [i % 2 for i in range(len(train))]},
            test={"image": test, "label": [i % 2 for i in range(len(test))]},
        )

    def test_16_bits_are_scaled(self, tmp_path: Path) -> None:
        deep = [Image.fromarray(np.full((6, 6), 32768, np.uint16))] * 4
        self.save(tmp_path, PICTURE, deep)
        data = load_task(task(tmp_path))
        assert data.info.shape == (1, 6, 6)
        assert float(data.train.for_model().mean()) == pytest.approx(0.5, abs=0.003)

    def test_what_has_no_scale_is_refused_by_row_and_mode(self, tmp_path: Path) -> None:
        content = io.BytesIO()
        Image.fromarray(np.full((6, 6), 300.0, np.float32)).save(content, "TIFF")
        self.save(tmp_path, PICTURE, [*colours(2), {"bytes": content.getvalue(), "path": None}])
        with pytest.raises(ConfigError, match=r"task.dataset = 'hf:own/set': train row 2: mode F with values"):
            load_task(task(tmp_path))

    def test_a_damaged_row_is_named(self, tmp_path: Path) -> None:
        self.save(tmp_path, PICTURE, [*colours(1), {"bytes": b"<html></html>", "path": None}])
        with pytest.raises(ConfigError, match="train row 1: an HTML page, not a picture"):
            load_task(task(tmp_path))

    def test_a_row_without_a_picture_is_named(self, tmp_path: Path) -> None:
        self.save(tmp_path, PICTURE, [*colours(2), None])
        with pytest.raises(ConfigError, match="train row 2: holds no picture"):
            load_task(task(tmp_path))

    @pytest.mark.parametrize("where", ["train", "test"])
    def test_grey_among_colours_becomes_rgb(self, where, tmp_path: Path) -> None:
        mixed, plain = [*colours(2), *colours(2, "L")], colours(3, "L")
        self.save(tmp_path, PICTURE, *((mixed, plain) if where == "train" else (plain, mixed)))
        data = load_task(task(tmp_path))
        assert data.info.shape == (3, 6, 6)
        grey = (data.train if where == "train" else data.test).inputs[3]
        assert grey.unique().tolist() == [1]

    def test_several_sizes_need_image_size(self, tmp_path: Path) -> None:
        self.save(tmp_path, PICTURE, [*colours(2, size=(6, 8)), *colours(2, size=(12, 6))])
        with pytest.raises(ConfigError, match=r"found 2 sizes, e.g. 12 x 6, 6 x 8 pixels; set task.image_size"):
            load_task(task(tmp_path))
        data = load_task(task(tmp_path, image_size=8))
        assert data.info.shape == (3, 8, 8)
        assert data.train.inputs[:, 0].amax(dim=(1, 2)).tolist() == [0, 1, 0, 1]

    @pytest.mark.parametrize(
        "kind",
        [datasets.Array2D((4, 5), "uint8"), datasets.Sequence(datasets.Sequence(datasets.Value("int64"))),
         datasets.Sequence(datasets.Sequence(datasets.Value("uint8")))],
    )  # fmt: skip
    def test_arrays_of_whole_numbers_are_grey_pictures(self, kind, tmp_path: Path) -> None:
        arrays = np.random.default_rng(0).integers(0, 256, (4, 4, 5))
        self.save(tmp_path, kind, arrays.tolist())
        data = load_task(task(tmp_path))
        assert data.info.shape == (1, 4, 5)
        assert np.array_equal(data.train.inputs[:, 0].numpy(), arrays)

    @pytest.mark.parametrize("channels_first", [True, False])
    def test_arrays_with_channels_are_rgb_either_way_round(self, channels_first, tmp_path: Path) -> None:
        arrays = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3))
        given = arrays.transpose(0, 3, 1, 2) if channels_first else arrays
        self.save(tmp_path, datasets.Array3D(given.shape[1:], "uint8"), given.tolist())
        data = load_task(task(tmp_path))
        assert np.array_equal(data.train.inputs.numpy(), arrays.transpose(0, 3, 1, 2))

    def test_floats_within_one_are_scaled_and_others_refused(self, tmp_path: Path) -> None:
        kind = datasets.Array2D((2, 2), "float32")
        self.save(tmp_path, kind, [[[0.0, 1.0], [0.5, 0.2]]] * 3)
        assert load_task(task(tmp_path)).train.inputs[0].flatten().tolist() == [0, 255, 128, 51]
        self.save(tmp_path / "signed", kind, [[[-1.0, 1.0], [0.5, 0.2]]] * 3)
        with pytest.raises(ConfigError, match=r"images of type float32 hold values -1..1; allowed: 0..1 as floats"):
            load_task(task(tmp_path / "signed"))

    def test_16_bit_arrays_are_scaled_by_their_type(self, tmp_path: Path) -> None:
        self.save(tmp_path, datasets.Array2D((2, 2), "uint16"), [[[32768] * 2] * 2] * 3)
        assert load_task(task(tmp_path)).train.inputs.unique().tolist() == [128]

    def test_files_bytes_without_the_image_type_are_read(self, tmp_path: Path) -> None:
        content = io.BytesIO()
        Image.new("RGB", (4, 4), (9, 8, 7)).save(content, "PNG")
        struct = {"bytes": datasets.Value("binary"), "path": TEXT}
        self.save(tmp_path, struct, [{"bytes": content.getvalue(), "path": "a.png"}] * 3)
        assert load_task(task(tmp_path)).train.inputs[0, :, 0, 0].tolist() == [9, 8, 7]
        self.save(tmp_path / "plain", datasets.Value("binary"), [content.getvalue()] * 3)
        assert load_task(task(tmp_path / "plain")).train.inputs[0, :, 0, 0].tolist() == [9, 8, 7]


def test_image_size_serves_sets_of_one_size_too(tmp_path: Path) -> None:
    small = load_task(TaskSection(image_size=14, train_samples=20, test_samples=10))
    whole = load_task(TaskSection(train_samples=20, test_samples=10))
    assert small.info.shape == (1, 14, 14)
    means = whole.train.inputs.float().reshape(20, 14, 2, 14, 2).mean((2, 4))
    assert (small.train.inputs[:, 0].float() - means).abs().mean() < 12
    assert load_task(TaskSection(image_size=28, train_samples=20, test_samples=10)).train.inputs.equal(
        whole.train.inputs
    )


def test_ids_follow_images_through_every_choice(tmp_path: Path) -> None:
    count = 120
    ids = [f"w{i % 7}" for i in range(count)]
    save(
        tmp_path,
        {"image": PICTURE, "label": CLASSES, "writer_id": TEXT},
        train={"image": colours(count), "label": [i % 2 for i in range(count)], "writer_id": ids},
    )
    chosen = task(tmp_path, test_fraction=0.2, validation_fraction=0.1, imbalance_factor=2.0, train_samples=40)
    data = load_task(chosen)
    numbered = data.train.inputs[:, 0, 0, 0].tolist()
    names = sorted({ids[i] for i in numbered})
    assert [names[place] for place in load_ids(chosen, "writer_id")] == [ids[i] for i in numbered]


def test_natural_clients_are_one_id_each_or_whole_ids(tmp_path: Path) -> None:
    ids = [f"w{i % 7}" for i in range(120)]
    save(
        tmp_path,
        {"image": PICTURE, "label": CLASSES, "writer_id": TEXT},
        train={"image": colours(120), "label": [i % 2 for i in range(120)], "writer_id": ids},
    )
    chosen = task(tmp_path, validation_fraction=0.1)
    numbered = load_task(chosen).train.inputs[:, 0, 0, 0]
    natural = ByColumnPartitioner(column="writer_id")

    def writers(clients: int) -> list[list[str]]:
        parts = partition_indices(chosen, natural, clients, 1)
        return [sorted({ids[i] for i in numbered[part].tolist()}) for part in parts]

    assert writers(7) == [[f"w{i}"] for i in range(7)]
    assert sorted(name for client in writers(3) for name in client) == [f"w{i}" for i in range(7)]
    with pytest.raises(ConfigError, match=r"federation.clients = 8: allowed: 1 to 7, the ids in column 'writer_id'"):
        writers(8)


def test_prepare_says_what_a_run_has_to_choose(tmp_path: Path) -> None:
    rows = {"image": [*colours(2), *colours(2, size=(9, 9))], "label": [0, 1, 0, 1]}
    save(tmp_path, {"image": PICTURE, "label": CLASSES}, train=rows)
    found = prepare_command("hf:own/set", str(tmp_path))
    assert found.as_object()["train_images"] is None
    assert "a run needs images of one size, found 2 sizes" in found.as_line()
    save(tmp_path / "even", {"image": PICTURE, "label": CLASSES}, train={"image": colours(4), "label": [0, 1, 0, 1]})
    line = prepare_command("hf:own/set", str(tmp_path / "even")).as_line()
    assert line.startswith("hf:own/set: 4 training and no test images (task.test_fraction sets some aside)")


def test_ids_that_are_not_there_are_named(tmp_path: Path) -> None:
    save(
        tmp_path,
        {"image": PICTURE, "label": CLASSES, "site": TEXT},
        train={"image": colours(4), "label": [0, 1, 0, 1], "site": ["a", None, "b", ""]},
        test={"image": colours(1), "label": [0], "site": ["a"]},
    )
    key = "partition.by-column.column"
    with pytest.raises(ConfigError, match=rf"{key} = 'writer': no such column; hf:own/set has the columns label, site"):
        load_ids(task(tmp_path), "writer")
    with pytest.raises(
        ConfigError, match=rf"{key} = '': name the column of ids; hf:own/set has the columns label, site"
    ):
        load_ids(task(tmp_path), "")
    with pytest.raises(ConfigError, match=rf"{key} = 'site': 2 of 4 training images have no id"):
        load_ids(task(tmp_path), "site")
    with pytest.raises(ConfigError, match=r"fashion-mnist-slice has no column besides images and labels"):
        load_ids(TaskSection(), "writer")


def test_prepare_saves_every_split_whatever_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("flwr_datasets")
    save(
        tmp_path,
        {"image": PICTURE, "label": CLASSES},
        **{name: {"image": colours(3), "label": [0, 1, 0]} for name in ("training", "dev", "extra")},
    )
    found = datasets.load_from_disk(str(tmp_path / "hf" / "own--set"))
    monkeypatch.setattr(datasets, "load_dataset", lambda path, **_: found)
    prepare("hf:own/set", str(tmp_path / "new"))
    assert set(datasets.load_from_disk(str(tmp_path / "new" / "hf" / "own--set"))) == {"training", "dev", "extra"}
