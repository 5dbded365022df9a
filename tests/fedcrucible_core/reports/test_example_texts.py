"""Texts stand on a page where pictures would, harmless and with the trigger's words marked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fedcrucible_core.config.sections import OutputSection
from fedcrucible_core.records import files
from fedcrucible_core.records.reader import DamagedRecordError, read
from fedcrucible_core.records.schema import ExampleTexts, RoundRecord, RunDescription
from fedcrucible_core.records.writer import RunRecord
from fedcrucible_core.reports import render_report
from fedcrucible_core.reports.charts.example_texts import text_rows

RUN = RunDescription(
    strategy="fedavg", attack="addsent", seed=1, input_noun="text", class_names=("person", "animal"), target_label=0,
    test_images=40, attack_inputs="triggered texts", triggered_images=20,
)  # fmt: skip
HOSTILE = "<script>alert(1)</script> <img src=x onerror=alert(2)>\x1b[31m\u202e red"


def pieces(before: str, after: str) -> list[tuple[str, bool]]:
    kinds = [ExampleTexts(kind="clean", texts=(before,)), ExampleTexts(kind="triggered", texts=(after,))]
    return [(piece.words, piece.added) for piece in text_rows(RUN, kinds)[1].texts[0].pieces]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("a b c", "a b c x y", [("a b c", False), ("x y", True)]),
        ("a b c", "x a b c", [("x", True), ("a b c", False)]),
        ("a b c", "a x b c", [("a", False), ("x", True), ("b c", False)]),
        ("a b c", "a x", [("a", False), ("x", True)]),
        ("a b c", "a b c", [("a b c", False)]),
        ("", "x", [("x", True)]),
        ("a", "", []),
    ],
)
def test_what_a_trigger_adds_is_marked(before: str, after: str, expected: list[tuple[str, bool]]) -> None:
    assert pieces(before, after) == expected


def test_texts_of_other_kinds_are_shown_whole_with_their_class() -> None:
    kinds = [
        ExampleTexts(kind="synthetic", texts=("a", "b"), labels=(1, 7)),
        ExampleTexts(kind="natural", texts=("c",)),
    ]
    first, second = text_rows(RUN, kinds)
    assert (first.legend, [text.caption for text in first.texts]) == ("the server's synthetic texts", ["animal", "7"])
    assert second.legend == "what attack success is measured on: triggered texts, nothing is put on them"
    assert [piece.added for text in (*first.texts, *second.texts) for piece in text.pieces] == [False] * 3
    assert text_rows(RUN, []) == []


def _record(folder: Path) -> RunRecord:
    record = RunRecord.create(OutputSection(dir=str(folder)), strategy="fedavg", attack="addsent", seed=1)
    record.write_run(RUN)
    recalls, confusion = (90.0, None), ((0, 0), (12, 8))
    record.append_round(
        RoundRecord(
            round=1, ma_percent=80.0, asr_percent=60.0, base_rate_percent=60.0, per_class_recall_percent=recalls,
            confusion=confusion, malicious=(0,), accepted=(0,), attack_active=True,
        )
    )  # fmt: skip
    return record


def test_the_page_speaks_of_texts_and_shows_them(tmp_path: Path) -> None:
    record = _record(tmp_path)
    clean, triggered = "a kind of dog", "a kind of dog i watched this 3d movie ."
    record.save_texts(
        [
            ExampleTexts(kind="clean", texts=(clean,), labels=(1,)),
            ExampleTexts(kind="triggered", texts=(triggered,), labels=(1,)),
            ExampleTexts(kind="poisoned", texts=("a kind of man i watched this 3d movie .",), labels=(0,)),
        ]
    )
    record.write_summary()
    assert [kind.kind for kind in read(record.folder).texts] == ["clean", "triggered", "poisoned"]
    page = render_report(record.folder).read_text(encoding="utf-8")
    text = " ".join(page.split())
    for words in (
        "Example texts", "the same texts with the trigger", "<mark>i watched this 3d movie .</mark>",
        "synthetic texts that an attacker has been at", "Where triggered texts end up", "Texts of the target class",
        "draw of test texts", "no test text", "of the texts are called the target",
    ):  # fmt: skip
        assert words in text, words
    seen = re.sub(r"<style.*?</style>|<svg.*?</svg>|<[^>]*>", " ", text)
    assert re.findall(r".{30}\bimages?\b.{30}", seen) == []


def test_a_hostile_text_is_shown_and_does_nothing(tmp_path: Path) -> None:
    record = _record(tmp_path)
    record.save_texts(
        [ExampleTexts(kind="clean", texts=(HOSTILE,)), ExampleTexts(kind="triggered", texts=(HOSTILE + HOSTILE,))]
    )
    record.write_summary()
    written = (record.folder / files.TEXTS).read_text(encoding="utf-8")
    assert "\x1b" not in written
    assert "\u202e" not in written
    page = render_report(record.folder).read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script" not in page
    assert "onerror=alert(2)>" not in page
    assert "\u202e" not in page


def test_a_text_of_a_record_from_elsewhere_is_cleaned_on_reading(tmp_path: Path) -> None:
    record = _record(tmp_path)
    (record.folder / files.TEXTS).write_text('{"kinds": [{"kind": "clean", "texts": ["a\\u001b[31mb"]}]}')
    assert read(record.folder).texts[0].texts == ("a\N{REPLACEMENT CHARACTER}[31mb",)
    assert read(record.folder, arrays=False).texts == ()


def test_damaged_texts_are_named(tmp_path: Path) -> None:
    record = _record(tmp_path)
    (record.folder / files.TEXTS).write_text('{"kinds": [{"texts": 3}]}')
    with pytest.raises(DamagedRecordError, match=r"examples\.json is damaged: kinds"):
        read(record.folder)
