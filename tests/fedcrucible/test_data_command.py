"""``fedcrucible data``: what there is, what was left out, and why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.own_pictures import CLASSES, write_folder

OWN = ("task.dataset=folder", "task.image_size=8")


def test_images_by_class_and_split_and_what_was_left_out(fedcrucible, tmp_path: Path) -> None:
    write_folder(tmp_path / "own", 10)
    (tmp_path / "own" / "plum" / "page[1].jpg").write_text("<html>")
    (tmp_path / "own" / "plum" / "\x1b[2Jnotes.txt").touch()

    result = fedcrucible("data", *OWN, f"task.data_dir={tmp_path / 'own'}")

    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == f"folder in {tmp_path / 'own'}"
    assert lines[1] == "3 classes, 8 x 8 pixels, colour"
    assert lines[2].split() == ["label", "class", "train", "validation", "test"]
    assert [line.split() for line in lines[3:7]] == [
        ["0", "apple", "7", "1", "2"],
        ["1", "banana", "8", "0", "2"],
        ["2", "plum", "7", "1", "2"],
        ["all", "22", "2", "6"],
    ]
    assert f"note: skipped 1 file: an HTML page, not a picture ({tmp_path}/own/plum/page[1].jpg)" in lines
    assert any("no picture by its name (.txt)" in line for line in lines)
    assert "\x1b" not in result.stdout


def test_json_for_machines(fedcrucible, tmp_path: Path) -> None:
    write_folder(tmp_path / "train", 6, ("01", "02", "n01440764"))
    write_folder(tmp_path / "test", 2, ("01", "02", "n01440764"))

    result = fedcrucible("data", *OWN, f"task.data_dir={tmp_path}", "task.validation_fraction=0", "--json")

    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["images"] == {"train": 18, "validation": 0, "test": 6}
    assert report["classes"][2] == {"label": 2, "name": "n01440764", "train": 6, "validation": 0, "test": 2}
    assert (report["channels"], report["height"], report["width"]) == (3, 8, 8)
    assert report["names_like_ids"] == ["01", "02", "n01440764"]
    assert (
        "class names look like ids (01, 02, n01440764)" in fedcrucible("data", *OWN, f"task.data_dir={tmp_path}").stdout
    )


def test_what_ships_needs_no_settings(fedcrucible) -> None:
    result = fedcrucible("data", "--json")
    assert json.loads(result.stdout)["images"] == {"train": 30_000, "validation": 2_000, "test": 10_000}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("task.dataset=folder", "task.data_dir=/no/such"), "error: task.data_dir = '/no/such': nothing is there"),
        (("task.dataset=foldr",), "error: task.dataset = 'foldr': did you mean 'folder'?"),
        (("task.dataset=mnist:x",), "error: task.dataset = 'mnist:x':"),
    ],
)
def test_a_mistake_is_one_line(settings, message, fedcrucible) -> None:
    result = fedcrucible("data", *settings)
    assert result.exit_code == 2
    assert result.stderr.startswith(message)


def test_the_record_says_what_was_left_out(fedcrucible, runs_folder, tmp_path: Path) -> None:
    write_folder(tmp_path, 12)
    (tmp_path / "plum" / "cut.jpg").write_text("<html>")

    settings = (*OWN, f"task.data_dir={tmp_path}", "task.train_samples=0", "task.test_samples=0", "output.name=mine")
    result = fedcrucible(
        "run", "--preset", "smoke", "strategy=fedavg", "output.report=false", "run.rounds=1", *settings
    )

    assert result.exit_code == 0, result.output
    notes = json.loads((runs_folder / "mine" / "run.json").read_text(encoding="utf-8"))["notes"]
    assert any(note.startswith("skipped 1 file: an HTML page") for note in notes)
    assert any("6 of its 36 training images are set aside" in n or "7 of its 36 training images" in n for n in notes)


def test_a_server_phase_says_before_any_client_which_sources_serve_own_classes(
    fedcrucible, no_client, tmp_path: Path
) -> None:
    write_folder(tmp_path, 12)
    settings = (*OWN, f"task.data_dir={tmp_path}", "task.train_samples=0", "task.test_samples=0", "strategy=clip-fed")
    result = fedcrucible("run", "--preset", "smoke", *settings, "synthetic.source=flow")
    assert result.exit_code == 2
    assert "also has apple, banana, plum: choose another source: folder" in result.stderr
    few = ("synthetic.source=folder", f"synthetic.folder.path={tmp_path}", "synthetic.per_class=13")
    result = fedcrucible("run", "--preset", "smoke", *settings, *few)
    assert result.exit_code == 2
    assert "fewer than 13 pictures (synthetic.per_class) of apple (12)" in result.stderr


def test_classes_are_named(fedcrucible, tmp_path: Path) -> None:
    write_folder(tmp_path, 6, ("ankle_boot", *CLASSES[:2]))
    classes = json.loads(fedcrucible("data", *OWN, f"task.data_dir={tmp_path}", "--json").stdout)["classes"]
    assert [entry["name"] for entry in classes] == ["ankle boot", "apple", "banana"]


def test_one_class_is_said_to_be_too_few(fedcrucible, tmp_path: Path) -> None:
    write_folder(tmp_path, 6, ("apple",))
    settings = (*OWN, f"task.data_dir={tmp_path}")
    printed = fedcrucible("data", *settings).stdout.splitlines()
    assert printed[1] == "one class, 8 x 8 pixels, colour"
    assert "note: a run needs two classes" in printed
    result = fedcrucible("run", *settings, "task.train_samples=0", "strategy=fedavg")
    assert result.exit_code == 2
    assert (
        "has one class only (apple), a run needs two; are its class folders one folder further down?" in result.output
    )


def test_texts_are_counted_and_shown_one_of_each_class(fedcrucible) -> None:
    report = json.loads(fedcrucible("data", "task.dataset=wn4", "task.max_length=30", "--json").stdout)
    assert (report["noun"], report["shape"], report["channels"]) == ("text", [30], None)
    assert report["form"] == "of 30 tokens by wordnet, 16 kept free"
    assert [example["class"] for example in report["examples"]] == ["person", "animal", "artifact", "location"]
    assert all(example["text"] for example in report["examples"])
    (note,) = report["notes"]
    assert "of 4600 training texts fill all 12 tokens that they may have" in note
    shown = fedcrucible("data", "task.dataset=wn4").stdout
    assert "4 classes, texts of 64 tokens by wordnet, 16 kept free" in shown
    assert f"person: {report['examples'][0]['text'][:20]}" in shown


def test_pictures_have_no_example_texts(fedcrucible, tmp_path: Path) -> None:
    write_folder(tmp_path, 6)
    report = json.loads(fedcrucible("data", *OWN, f"task.data_dir={tmp_path}", "--json").stdout)
    assert report["examples"] == []
    assert report["form"] == "3x8x8 (CxHxW)"
