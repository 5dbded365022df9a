"""Splits of Hugging Face data sets by the names they have, and what is said of those that nobody uses."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.sections import TaskSection
from fedcrucible_core.learning.data import DataSplits
from fedcrucible_core.learning.datasets import load_task

datasets = pytest.importorskip("datasets")


def loaded(root: Path, **labels: list[Any]) -> DataSplits:
    """A saved set whose splits hold these labels, read; nothing is held out."""
    splits = {
        name: datasets.Dataset.from_dict(
            {"image": [Image.new("RGB", (4, 4), (n, 9, 9)) for n in range(len(found))], "label": found},
            features=datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")}),
        )
        for name, found in labels.items()
    }
    datasets.disable_progress_bars()
    datasets.DatasetDict(splits).save_to_disk(str(root / "hf" / "own--set"))
    return load_task(
        TaskSection(dataset="hf:own/set", data_dir=str(root), train_samples=0, test_samples=0, validation_fraction=0.0)
    )


@pytest.mark.parametrize("names", [("Train", "Test"), ("training", "testing"), ("train", "TEST"), ("train", "Val")])
def test_published_splits_are_used_however_they_are_spelt(names, tmp_path: Path) -> None:
    data = loaded(tmp_path, **{names[0]: list("abab"), names[1]: ["b"]})
    assert (len(data.train), data.test.labels.tolist(), data.notes) == (4, [1], ())


def test_a_spelt_test_split_goes_before_validation(tmp_path: Path) -> None:
    data = loaded(tmp_path, train=list("abab"), validation=list("ab"), Test=["b"])
    assert (len(data.validation), len(data.test)) == (2, 1)


def test_splits_that_are_not_used_are_named(tmp_path: Path) -> None:
    data = loaded(tmp_path, train=list("abab"), test=["b"], valid=["a"], extra=["b"])
    assert data.notes == ("splits that are not used: valid, extra",)


@pytest.mark.parametrize(
    ("names", "why"),
    [(("first", "second"), "needs a split train, has first, second"), (("Train", "training"), "could each be train")],
)
def test_splits_that_could_be_anything_are_refused(names, why, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=why):
        loaded(tmp_path, **{name: list("abab") for name in names})


def test_blanks_make_no_class_and_are_no_label(tmp_path: Path) -> None:
    assert loaded(tmp_path / "one", train=["a ", " a", "b", "b"], test=["a"]).info.class_names == ("a", "b")
    with pytest.raises(ConfigError, match=r"1 of 4 labels of the train split are missing"):
        loaded(tmp_path / "two", train=["a", "  ", "b", "b"], test=["a"])


def test_a_class_without_training_images_is_named(tmp_path: Path) -> None:
    assert loaded(tmp_path, train=list("abab"), test=["c"]).notes == ("train has no image of 'c'",)
