"""Files as editors save them: a byte-order mark is no mistake, another encoding is one clear error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from attacks.support.image_lists import listed_images
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.load import load
from fedcrucible_core.config.preset import load_preset
from fedcrucible_core.config.text_files import read_text
from fedcrucible_core.learning.datasets import load_task

PRESET = 'strategy = "fedavg"\r\n# größer\r\nrun.seed = 7\n'
KEY = "attack.semantic.attribute_file"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_byte_order_mark_is_passed_over(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(PRESET.encode(encoding))
    assert load_preset(str(path)) == {"strategy": "fedavg", "run.seed": 7}


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("utf-16", "is saved as UTF-16: save it as UTF-8"),
        ("utf-32", "is saved as UTF-32: save it as UTF-8"),
        ("utf-16-le", "holds zero bytes"),
        ("latin-1", "line 2: byte 0xf6 is not UTF-8: save the file as UTF-8"),
    ],
)
def test_another_encoding_is_one_error_that_names_the_file(encoding: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    text = PRESET if encoding != "utf-16-le" else PRESET.replace("größer", "larger")
    path.write_bytes(text.encode(encoding))
    with pytest.raises(ConfigError) as caught:
        load_preset(str(path))
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_preset_that_another_builds_on_is_read_the_same_way(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_bytes(b"\xef\xbb\xbfrun.seed = 3\n")
    (tmp_path / "top.toml").write_bytes(b'\xef\xbb\xbfpreset = "base.toml"\nrun.rounds = 2\n')
    assert load_preset(str(tmp_path / "top.toml")) == {"run.seed": 3, "run.rounds": 2}


def test_lists_of_images_too(tmp_path: Path) -> None:
    task = load({}).task
    path = tmp_path / "lists.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({"train": [0, 1], "test": [2]}).encode())
    assert len(listed_images(str(path), task, KEY).train) == 2
    other = tmp_path / "other.json"
    other.write_bytes(json.dumps({"train": [0], "test": [1]}).encode("utf-16"))
    with pytest.raises(ConfigError, match=r"other\.json is saved as UTF-16"):
        listed_images(str(other), task, KEY)
    assert load_task(task)


def test_lines_end_in_one_way(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(b"a\r\nb\rc\n")
    assert read_text(path) == "a\nb\nc\n"
