"""Synthetic samples in a record: written, read back, refused where damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from fedcrucible_core.config.sections import OutputSection
from fedcrucible_core.records.reader import DamagedRecordError, read_synthetic
from fedcrucible_core.records.synthetic import StoredPicture, SyntheticExample, SyntheticExamples
from fedcrucible_core.records.writer import RunRecord


@pytest.fixture
def record(tmp_path: Path) -> RunRecord:
    return RunRecord.create(OutputSection(dir=str(tmp_path)), strategy="fm-fl", attack="bd-fmfl", seed=1)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 5, 7)], ids=str)
def test_pictures_come_back_bit_for_bit(record: RunRecord, shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    one = SyntheticExample(label=3, used_as=0, poisoned=True, fate="relabelled", picture=StoredPicture.of(pixels))
    record.save_synthetic(SyntheticExamples(sanitized=True, examples=(one,)))
    found = read_synthetic(record.folder)
    assert found.sanitized
    assert found.examples == (one,)
    picture = found.examples[0].picture
    assert picture is not None
    assert np.array_equal(picture.array, pixels)


def test_texts_are_one_plain_line(record: RunRecord) -> None:
    record.save_synthetic(SyntheticExamples(examples=(SyntheticExample(label=0, text="a\x1b[31m\nb"),)))
    text = read_synthetic(record.folder).examples[0].text
    assert "\x1b" not in text
    assert "\n" not in text


def test_a_record_without_them_has_none(record: RunRecord) -> None:
    assert read_synthetic(record.folder) == SyntheticExamples()


@pytest.mark.parametrize(
    ("shape", "pixels"),
    [((1, 2, 2), "AAA="), ((1, 2, 2), "no base64!"), ((2, 1, 1), "AAA="), ((1, 0, 5), ""), ((1, -1, -1), "AA==")],
    ids=["too short", "other text", "two channels", "empty", "negative"],
)
def test_what_is_no_picture_is_refused(shape: tuple[int, int, int], pixels: str) -> None:
    with pytest.raises(ValidationError, match="no picture of that shape"):
        StoredPicture(shape=shape, pixels=pixels)


def test_a_damaged_file_is_named(record: RunRecord) -> None:
    (record.folder / "synthetic.json").write_text('{"examples": [{"label": "x"}]}', encoding="utf-8")
    with pytest.raises(DamagedRecordError, match=r"synthetic\.json is damaged"):
        read_synthetic(record.folder)
