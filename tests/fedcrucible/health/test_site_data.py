"""A node's data: counts and a timed epoch, and never a file's name."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedcrucible.health import site_data
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.config.load import load
from tests.support.own_pictures import picture, write_folder

SIZE = (28, 28)


def _config(folder: Path, **more: object) -> RunConfigBase:
    settings = {"task.dataset": "folder", "task.data_dir": str(folder), "model.name": "cnn", "run.device": "cpu"}
    return load(settings | {key.replace("__", "."): value for key, value in more.items()})  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "pictures", 6, size=SIZE)


def test_counts_by_class_and_an_epoch(folder: Path) -> None:
    classes, epoch = site_data.examine(_config(folder), 8)
    assert (classes.status, epoch.status) == ("ok", "ok"), (classes, epoch)
    assert classes.detail.startswith("18 images")
    assert "apple 6, banana 6, plum 6" in classes.detail
    assert " s for 8 examples, about " in epoch.detail


def test_no_epoch_where_none_is_wanted(folder: Path) -> None:
    assert len(site_data.examine(_config(folder), 0)) == 1


def test_few_examples_are_a_warning(folder: Path) -> None:
    for path in sorted((folder / "plum").iterdir())[1:]:
        path.unlink()
    (found,) = site_data.examine(_config(folder), 0)
    assert (found.status, "1 of 3 classes have fewer than 2" in found.todo) == ("warn", True)


@pytest.mark.parametrize("damage", ["truncated", "other sizes", "a pipe's worth of nothing"])
def test_no_file_s_name_is_printed_whatever_is_wrong(damage: str, folder: Path) -> None:
    patient = folder / "plum" / "patient-4711-john-doe.png"
    if damage == "truncated":
        patient.write_bytes((folder / "plum" / "000.png").read_bytes()[:60])
    elif damage == "other sizes":
        picture(0, 0, (90, 80)).save(patient)
    else:
        patient.write_bytes(b"")
    for found in site_data.examine(_config(folder), 4):
        assert "patient" not in f"{found.detail}{found.todo}"


def test_absent_empty_and_unreadable_folders(tmp_path: Path) -> None:
    (absent,) = site_data.examine(_config(tmp_path / "absent"), 4)
    assert (absent.status, "isn't there" in absent.detail) == ("fail", True)
    (tmp_path / "empty").mkdir()
    (empty,) = site_data.examine(_config(tmp_path / "empty"), 4)
    assert (empty.status, "can't be read as task.dataset=folder" in empty.detail) == ("fail", True)
    assert "keep its output here" in empty.todo


def test_a_model_that_can_t_take_the_pictures_is_a_failure(folder: Path) -> None:
    for path in folder.rglob("*.png"):
        picture(0, 0, (3, 3)).save(path)
    epoch = site_data.examine(_config(folder), 4)[-1]
    assert (epoch.name, epoch.status) == ("one epoch", "fail")
    assert "takes images of at least 4 x 4 pixels" in epoch.detail
