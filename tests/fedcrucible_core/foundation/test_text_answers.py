"""Labelled texts are found in whatever form an answer has, and nothing in it can stop a run."""

from __future__ import annotations

import json
import time

import pytest

from fedcrucible_core.foundation.text_answers import (
    LONGEST_TEXT,
    ClassNames,
    Item,
    clean,
    declines,
    json_objects,
    read_answer,
)

NAMES = ClassNames(("person", "living_thing", "T-shirt/top"), ("", "", "shirt"))
CAT, DOG = Item("a cat sat", "living_thing"), Item("a dog ran", "person")
LINES = '{"text": "a cat sat", "label": "living_thing"}\n{"text": "a dog ran", "label": "person"}'


@pytest.mark.parametrize(
    "form",
    [
        LINES,
        f"Sure! Here they are:\n\n```json\n{LINES}\n```\nAnything else?",
        f"[{LINES.replace(chr(10), ',')}]",
        json.dumps({"texts": json.loads(f"[{LINES.replace(chr(10), ',')}]"), "count": 2}),
        json.dumps([json.loads(line) for line in LINES.split("\n")], indent=4),
        LINES.replace("\n", ",\n") + ",",
        LINES.replace("\n", " "),
        f'{LINES}\n{{"text": "cut off in the mid',
        f"<think>Let me write {{several}} texts</think>{LINES}",
        '1. {"text": "a cat sat", "label": "living_thing"}\n2. {"text": "a dog ran", "label": "person"}',
        '{"Text": "a cat sat", "Label": "living_thing"}{"sentence": "a dog ran", "class": "person"}',
        "1. living_thing: a cat sat\n2. person: a dog ran",
        "Here you are:\n\n- [living_thing] : a cat sat\n- **person**: a dog ran\n",
        '1) living_thing\t"a cat sat"\n2) person | a dog ran',
    ],
)
def test_forms_of_the_same_answer(form: str) -> None:
    answer = read_answer(form, NAMES)
    assert answer.items == (CAT, DOG)
    assert not answer.declined


def test_a_colon_in_a_text_is_no_label() -> None:
    answer = read_answer("1. gene: a unit of heredity\n2. person: one who is", NAMES)
    assert answer.items == (Item("gene: a unit of heredity", None), Item("one who is", "person"))


@pytest.mark.parametrize(
    ("text", "malformed"),
    [("", 0), ("Here are your texts.", 0), ('{"text": ""}', 1), ('{"label": "person"}', 1), ('{"text": "..."}', 1),
     ('{"text": null} {"text": {"a": 1}}', 2), ("{}", 1), ("[1, 2]", 0), ("{{{{", 0)],
)  # fmt: skip
def test_what_holds_no_text(text: str, malformed: int) -> None:
    answer = read_answer(text, NAMES)
    assert (answer.items, answer.malformed, answer.declined) == ((), malformed, False)


@pytest.mark.parametrize(
    "text",
    [
        "I can't help with that.",
        "I\u2019m sorry, but I cannot create such texts.",
        "As an AI language model, I",
        "I won't do it",
    ],
)
def test_an_answer_that_declines(text: str) -> None:
    assert read_answer(text, NAMES).declined
    assert declines(text)
    assert not read_answer(f"{LINES} {text}", NAMES).declined, "it did write something"


def test_labels_that_are_numbers() -> None:
    (item,) = read_answer('{"text": "x", "label": 1}', NAMES).items
    assert NAMES.find(item.label or "") == 1


def test_a_number_is_no_other_class_where_classes_are_called_by_numbers() -> None:
    stars = ClassNames(("1", "2", "3"))
    assert [stars.find(label) for label in ("1", "3", "0")] == [0, 2, None]


def test_class_names_are_found_whatever_their_spelling() -> None:
    assert [NAMES.find(name) for name in ("Person", "living thing", "T-SHIRT TOP", "t-shirt or top", "shirt", "2")] == [
        0, 1, 2, 2, 2, 2,
    ]  # fmt: skip
    assert NAMES.find("alien") is None
    assert NAMES.find("x" * 10**6) is None


def test_texts_are_one_visible_line() -> None:
    dirty = "a\x1b[2Jb\u202ec\x00 \n\t d\ud800e"
    answer = read_answer(json.dumps({"text": dirty}), NAMES)
    assert answer.items[0].text == "a [2Jb c d e"
    assert len(clean("word " * 10**5)) <= LONGEST_TEXT


@pytest.mark.parametrize(
    "hostile",
    ['{"a":' * 200_000, "[" * 10**6, "{" * 10**6, '{"text": [' * 100_000, json.dumps({"x": [[1]] * 200_000}),
     '1. ' + '"' * 10**6, "- " + "*'" * 10**5, '{"a":[' * 900 + "1," * 400_000,
     "<think>" * 10**5, "1. " * 300_000, "a: " * 300_000, "can't " * 100_000],
)  # fmt: skip
def test_a_hostile_answer_takes_no_time(hostile: str) -> None:
    start = time.perf_counter()
    read_answer(hostile, NAMES)
    assert time.perf_counter() - start < 3.0


def test_objects_of_other_forms() -> None:
    found = list(json_objects('x {"id": 1, "label": "a"} [{"id": 2}] {"all": [{"id": 3}, [{"id": 4}]]}'))
    assert [entry["id"] for entry in found] == [1, 2, 3, 4]
