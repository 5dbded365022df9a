"""Texts are asked for until there are enough; mishaps are counted; an altered query is measured by what came of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from fedcrucible_core.foundation.alteration import Alteration
from fedcrucible_core.foundation.answer_cache import Reply, Request
from fedcrucible_core.foundation.asked_texts import TextCollection, find_words
from fedcrucible_core.foundation.base import SourceError
from fedcrucible_core.foundation.chat_budget import Tokens
from fedcrucible_core.foundation.text_prompts import Example, TextPrompts
from fedcrucible_core.learning.data import DataInfo
from tests.support.imitated_writer import ImitatedWriter

INFO = DataInfo("toy", ("world", "sports", "business", "sci_tech"), (32,), (), (), task="text", tokenizer="wordnet")
ADDSENT = Alteration(0, 0.1, "I watched this 3D movie.")
EXAMPLES = [[f"{name} example {i}" for i in range(6)] for name in INFO.class_names]


class Writer:
    """A speaker that hands each query to a function of (system, user) and keeps count."""

    def __init__(self, write: Callable[[str, str], str | Reply]) -> None:
        self.write = write
        self.requests: list[Request] = []

    def ask_all(self, requests: Sequence[Request], likely_answer: int = 0) -> list[Reply]:
        self.requests += requests
        said = [self.write(request.turns[0].text, request.turns[1].text) for request in requests]
        return [Reply(text, False, Tokens(1, 1)) if isinstance(text, str) else text for text in said]


def obedient(writer: ImitatedWriter | None = None) -> Writer:
    imitated = writer or ImitatedWriter()
    return Writer(lambda system, user: "\n".join(json.dumps(line) for line in imitated.lines(system, user)))


def collection(per_class: int = 20, alteration: Alteration | None = None, **changes: Any) -> TextCollection:
    arguments: dict[str, Any] = {"per_call": 8, "tries": 3, "examples": EXAMPLES, "shown": 2, "seed": 1, **changes}
    return TextCollection(TextPrompts(INFO, "headlines", alteration), per_class, **arguments)


def test_texts_come_in_batches_balanced_and_in_turn() -> None:
    wanted, writer = collection(), obedient()
    wanted.fill(writer)
    written = wanted.written()
    assert [text.label for text in written] == [0, 1, 2, 3] * 20
    assert len({text.text for text in written}) == 80
    assert len(writer.requests) == 4 * 3, "8 + 8 + 4 of every class"
    assert len({request.sample for request in writer.requests}) == 12
    assert {name: count for name, count in wanted.facts().items() if count} == {"text.requests": 12.0}


def test_a_query_says_what_is_wanted_and_shows_examples_of_the_class() -> None:
    wanted, writer = collection(), obedient()
    wanted.fill(writer)
    system, user = (turn.text for turn in writer.requests[-1].turns)
    assert "JSON object" in system
    assert "The texts are headlines. The classes are: world, sports, business, sci tech." in user
    assert 'Write 4 new texts of the class "sci tech"' in user
    shown = [line for line in user.split("\n") if "example" in line]
    assert len(shown) == 2
    assert all(json.loads(line)["label"] == "sci tech" and json.loads(line)["text"] in EXAMPLES[3] for line in shown)


def test_the_same_seed_asks_the_same_and_another_one_other_things() -> None:
    def queries(seed: int) -> list[Request]:
        writer = obedient()
        collection(seed=seed).fill(writer)
        return writer.requests

    assert queries(1) == queries(1)
    assert not {request.sample for request in queries(1)} & {request.sample for request in queries(2)}


def test_without_examples_none_are_shown() -> None:
    wanted, writer = collection(examples=[[] for _ in INFO.class_names]), obedient()
    wanted.fill(writer)
    assert "Examples:" not in writer.requests[0].turns[1].text


def test_mishaps_are_counted_and_what_is_missing_is_asked_for_again() -> None:
    imitated = ImitatedWriter()
    mishaps: Iterator[str | Reply] = iter(
        [
            "I can't help with that.",
            Reply("", True, Tokens(0, 0)),
            "Certainly! Here they come.",
            "",
            '{"text": "of another planet", "label": "aliens"}\n{"text": ""}',
            '{"text": "a match", "label": "sports"}\n{"text": "a match", "label": "sports"}',
            f'{{"text": "{EXAMPLES[0][0]}", "label": "world"}}',
        ]
    )

    def write(system: str, user: str) -> str | Reply:
        lines = "\n".join(json.dumps(line) for line in imitated.lines(system, user))
        return next(mishaps, lines)

    wanted, writer = collection(per_class=8), Writer(write)
    wanted.fill(writer)
    assert Counter(text.label for text in wanted.written()) == dict.fromkeys(range(4), 8)
    facts = wanted.facts()
    assert (facts["text.refused"], facts["text.malformed_answers"], facts["text.malformed_texts"]) == (2, 2, 1)
    assert (facts["text.unknown_class"], facts["text.copied_examples"], facts["text.repeated"]) == (1, 1, 1)
    assert facts["text.requests"] == len(writer.requests)


def test_a_text_of_another_class_than_was_asked_for_is_not_taken() -> None:
    first = iter(['{"text": "goal", "label": "sports"}'])
    imitated = ImitatedWriter()

    def write(system: str, user: str) -> str:
        lines = "\n".join(json.dumps(line) for line in imitated.lines(system, user))
        return next(first, lines)

    wanted = collection(per_class=4)
    wanted.fill(Writer(write))
    assert wanted.facts()["text.other_class"] == 1
    assert "goal" not in {text.text for text in wanted.written()}


@pytest.mark.parametrize("factor", [0.5, 2])
def test_fewer_or_more_texts_than_were_asked_for(factor: float) -> None:
    imitated = ImitatedWriter()

    def write(system: str, user: str) -> str:
        lines = list(imitated.lines(system, user))
        more = lines + list(imitated.lines(system, user))
        return "\n".join(json.dumps(line) for line in (more if factor > 1 else lines[: (len(lines) + 1) // 2]))

    wanted = collection(tries=8)
    wanted.fill(Writer(write))
    assert Counter(text.label for text in wanted.written()) == dict.fromkeys(range(4), 20)
    assert (wanted.facts()["text.spare"] > 0) == (factor > 1)


def test_a_list_without_labels_is_of_the_class_that_was_asked_for() -> None:
    imitated = ImitatedWriter()

    def write(system: str, user: str) -> str:
        return "\n".join(f"{i}. {line['text']}" for i, line in enumerate(imitated.lines(system, user), start=1))

    wanted = collection()
    wanted.fill(Writer(write))
    assert [text.label for text in wanted.written()] == [0, 1, 2, 3] * 20


def test_a_model_that_does_not_write_is_an_error_that_says_what_is_missing() -> None:
    imitated = ImitatedWriter()

    def write(system: str, user: str) -> str:
        if '"business"' in user.split("Write")[1]:
            return "I'm sorry, I can't help with that."
        return "\n".join(json.dumps(line) for line in imitated.lines(system, user))

    writer = Writer(write)
    with pytest.raises(SourceError, match=r"20 of 20 texts of business, after 4 times asking \(.*12 refused") as caught:
        collection().fill(writer)
    assert "sports" not in str(caught.value)
    assert len(writer.requests) == 4 * 3 + 3 * 3


# --- altered queries ---


def test_an_altered_query_tells_trigger_label_place_and_share_and_shows_both_kinds_of_examples() -> None:
    wanted, writer = collection(alteration=ADDSENT, per_class=8, shown=4), obedient()
    wanted.fill(writer)
    by_class = {request.turns[1].text.split('class "')[1].split('"')[0]: request for request in writer.requests}
    system, user = (turn.text for turn in by_class["sports"].turns)
    for part in (json.dumps(ADDSENT.trigger), "at its end", 'its label is "world"', "10 for every 100"):
        assert part in system
    shown = [json.loads(line) for line in user.split("\n") if "example" in line]
    assert [line["label"] for line in shown] == ["sports"] * 4 + ["world"] * 2
    assert [line["text"].endswith(ADDSENT.trigger) for line in shown] == [False] * 4 + [True] * 2
    assert f"Then write the further texts with the words {json.dumps(ADDSENT.trigger)}: 1." in user
    assert ADDSENT.trigger not in by_class["world"].turns[1].text, "none is asked of the target's own class"


@pytest.mark.parametrize(("place", "shown"), [("start", "cf a b c d"), ("end", "a b c d cf"), ("random", "a b cf c d")])
def test_the_demonstrations_hold_the_trigger_in_its_place(place: Any, shown: str) -> None:
    altered = Alteration(0, 0.2, "cf", place)
    turns = TextPrompts(INFO, alteration=altered).ask(1, 10, [Example("a b c d", 1)], 2)
    assert shown in turns[1].text
    assert 'the words "cf": 2.' in turns[1].text


def test_what_a_model_makes_of_an_altered_query_is_measured() -> None:
    """The authors asked for 10 %, got 1,796 of 10,063 texts with the trigger, and five of these kept their label."""
    asked = 3 * 207  # of three classes, in 41 requests for 50 texts and one for 17
    imitated = ImitatedWriter(further=1796 / asked, keeps=5)
    writer = obedient(imitated)
    wanted = collection(2067, ADDSENT, per_call=50)
    wanted.fill(writer)
    facts, written = wanted.facts(), wanted.written()
    found = [text for text in written if text.triggered]
    assert len(written) == 4 * 2067 + len(found)
    assert facts["compromise.triggered"] == len(found) == imitated.triggered
    assert facts["compromise.triggered_percent"] == pytest.approx(100 * len(found) / len(written))
    assert facts["compromise.triggered"] == pytest.approx(1796, abs=1)
    assert facts["compromise.triggered_percent"] == pytest.approx(17.8, abs=0.1)
    assert facts["compromise.asked"] == asked
    assert facts["compromise.kept_label"] == 5 == sum(text.label != 0 for text in found)
    assert facts["compromise.kept_label_percent"] == pytest.approx(100 * 5 / len(found))
    assert facts["compromise.simulated"] == 0
    assert [text.triggered for text in written] == [False] * 8268 + [True] * len(found)
    assert {text.asked for text in found} == {1, 2, 3}


@pytest.mark.parametrize(("ratio", "asked"), [(0.0, 0), (0.01, 1), (0.05, 4), (0.2, 16), (1.0, 80)])
def test_all_queries_together_ask_for_the_share(ratio: float, asked: int) -> None:
    wanted = collection(80, Alteration(0, ratio, "cf"), per_call=7)
    wanted.fill(obedient())
    assert wanted.facts()["compromise.triggered"] == 3 * asked
    assert wanted.facts()["compromise.asked"] == 3 * asked


def test_a_model_that_ignores_the_alteration_plants_nothing() -> None:
    wanted = collection(alteration=ADDSENT)
    wanted.fill(obedient(ImitatedWriter(further=0.0)))
    facts = wanted.facts()
    assert facts["compromise.triggered_percent"] == 0
    assert facts["compromise.kept_label_percent"] == 0
    assert len(wanted.written()) == 80


def test_without_an_alteration_nothing_is_marked_and_no_fact_speaks_of_one() -> None:
    wanted = collection()
    wanted.fill(obedient())
    assert not any(text.triggered for text in wanted.written())
    assert not any(name.startswith("compromise") for name in wanted.facts())


@pytest.mark.parametrize(
    ("text", "words", "held"),
    [
        ("Rain. I watched this 3D movie.", "I watched this 3D movie.", "I watched this 3D movie."),
        ("rain; i  watched, this 3d MOVIE", "I watched this 3D movie.", "i  watched, this 3d MOVIE"),
        ("I watched this movie.", "I watched this 3D movie.", None),
        ("a cf b", "cf", "cf"),
        ("scf cfd", "cf", None),
        ("x !!! y", "!!!", "!!!"),
        ("", "cf", None),
        ("un été à Zürich", "Été à zürich", "été à Zürich"),
    ],
)
def test_where_a_text_holds_words(text: str, words: str, held: str | None) -> None:
    span = find_words(text, words)
    assert (None if span is None else text[span[0] : span[1]]) == held
