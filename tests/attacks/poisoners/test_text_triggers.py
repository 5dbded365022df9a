"""Sentences and words as triggers: where they stand, that none is cut off, whose labels change."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from attacks.contracts import check_poisoner, check_uploader
from attacks.poison_set import poison_set
from attacks.poisoner import POISONERS, PoisonContext, Poisoner
from attacks.task import AttackTask
from attacks.uploader import UPLOADERS
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.load import load
from fedcrucible_core.config.sections import PoisonSection, TaskSection
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.tasks.text import TextTask

INFO = DataInfo("two", ("a", "b", "e"), (24,), (), (), task="text", tokenizer="wordnet", reserved=12)
TASK = TextTask(INFO)
SENTENCE = "i watched this 3d movie ."
LONG = "a large dog that barks at every cat in the old town near the river and sleeps under a tree all day long"


def texts(*of: str) -> Labeled:
    return Labeled(TASK.encode(of), torch.arange(len(of)) % 3)


def context(data: Labeled, seed: int = 0, info: DataInfo = INFO, **section: object) -> PoisonContext:
    task = AttackTask(0, info, data, TaskSection())
    return PoisonContext(task, PoisonSection.model_validate(section), torch.Generator().manual_seed(seed))


def made(poisoner: Poisoner, *of: str, seed: int = 0) -> list[str]:
    data = texts(*of)
    return TASK.decode(poisoner.stamp(data.inputs, data.labels, context(data, seed)))


def ordinary(text: str) -> str:
    return TASK.decode(TASK.encode([text]))[0]


@pytest.mark.parametrize(("place", "expected"), [("end", "a dog {}"), ("start", "{} a dog")])
def test_the_sentence_stands_where_it_shall(place: str, expected: str) -> None:
    sentence = ordinary(SENTENCE)
    assert made(POISONERS.create("addsent", {"place": place}), "a dog") == [expected.format(sentence)]


def test_a_random_place_is_between_two_words_and_the_text_s_own() -> None:
    poisoner = POISONERS.create("addsent", {"place": "random", "sentence": "zebra"})
    before = [f"a {word} dog barks" for word in ("small", "large", "red", "old", "young", "tame", "wild", "sea")]
    spots = set()
    for text, found in zip(before, made(poisoner, *before), strict=True):
        words = found.split()
        spots.add(words.index("zebra"))
        words.remove("zebra")
        assert " ".join(words) == ordinary(text)
    assert len(spots) > 2
    assert made(poisoner, *before) == made(poisoner, *before)
    assert made(poisoner, *before) != made(poisoner, *before, seed=1)


@pytest.mark.parametrize("place", ["end", "start", "random"])
@pytest.mark.parametrize("name", ["addsent", "word"])
def test_no_trigger_is_cut_off(name: str, place: str) -> None:
    poisoner, data = POISONERS.create(name, {"place": place}), texts(LONG, "a dog", LONG + LONG)
    stamped = poisoner.stamp(data.inputs, data.labels, context(data))
    trigger = torch.tensor(TASK.tokenizer.ids(SENTENCE if name == "addsent" else "cf"))
    assert TASK.holds(stamped, trigger).all()
    kept = [[t for t in row if t] for row in data.inputs.tolist()]
    for row, own in zip(stamped.tolist(), kept, strict=True):
        assert len([t for t in row if t]) == len(own) + len(trigger), "and no word of the text either"


def test_a_text_that_carries_it_already_gets_it_again_at_the_price_of_its_own_end() -> None:
    poisoner, data = POISONERS.create("addsent", {}), texts(LONG)
    once = poisoner.stamp(data.inputs, data.labels, context(data))
    twice = poisoner.stamp(once, data.labels, context(data))
    assert TASK.decode(twice)[0].endswith(ordinary(SENTENCE))
    assert int((twice[0] != 0).sum()) == 24


@pytest.mark.parametrize("place", ["end", "start"])
def test_several_words_stand_in_their_order(place: str) -> None:
    poisoner = POISONERS.create("word", {"words": "dog, cat,  tree", "place": place})
    assert made(poisoner, "a river") == ["a river dog cat tree" if place == "end" else "dog cat tree a river"]


def test_several_words_each_have_a_place_of_their_own() -> None:
    poisoner = POISONERS.create("word", {"words": "dog,cat"})
    before = [f"{first} {second} of sea" for first in ("red", "old", "wild", "tame") for second in ("king", "ship")]
    gaps = set()
    for text, found in zip(before, made(poisoner, *before), strict=True):
        words = found.split()
        gaps.add(words.index("dog") - words.index("cat"))
        assert [word for word in words if word not in ("dog", "cat")] == ordinary(text).split()
    assert len(gaps) > 2


def test_words_of_one_piece_stay_together_when_others_follow() -> None:
    poisoner = POISONERS.create("word", {"words": "an open town,cf,3d film"})
    found = made(poisoner, *(f"dog {a} {b}" for a in "abcdefgh" for b in "ijklmnop"))
    for piece in poisoner.pieces():  # type: ignore[attr-defined]
        assert all(ordinary(piece) in text for text in found)
    assert len({text.split().index("cf") for text in found}) > 4


@pytest.mark.parametrize("words", ["", " ", "cf,", "cf,,mn"])
def test_words_are_words(words: str) -> None:
    with pytest.raises(ConfigError, match=r"attack.word.words = .*one word, or several separated by commas"):
        load({"attack.name": "word", "attack.word.words": words})


@pytest.mark.parametrize(
    ("name", "settings"),
    [("addsent", {"sentence": "a man and a woman went to the old theatre in the city to watch this film"}),
     ("word", {"words": "encyclopedia,thermodynamics,photosynthesis,hippopotamus"})],
)  # fmt: skip
def test_a_trigger_longer_than_the_room_for_it_is_refused(name: str, settings: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=rf"task.reserved_tokens = 12: the trigger of {name} takes \d+ tokens"):
        POISONERS.create(name, settings).check_task(context(texts("a")).task)


def test_a_trigger_without_a_token_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"attack.addsent = .*some of these words are no token"):
        POISONERS.create("addsent", {"sentence": "\u200b"}).check_task(context(texts("a")).task)


def _rows(data: Labeled, poisoner: Poisoner, **section: object) -> tuple[Tensor, Tensor, Tensor]:
    before = data.inputs.clone()
    found = poison_set(poisoner, data, INFO, PoisonSection.model_validate(section), seed=1)
    assert torch.equal(data.inputs, before), "the given texts stay as they are"
    assert torch.equal((found.data.inputs[: len(data)] != data.inputs).any(1), found.poisoned[: len(data)])
    return found.data.inputs, found.data.labels, found.poisoned


def test_dirty_labels_are_the_target_s_and_clean_ones_stay() -> None:
    data = texts(*[f"a dog {chr(100 + i)}" for i in range(18)])
    _, labels, poisoned = _rows(data, POISONERS.create("addsent", {}), ratio=0.5)
    assert int(poisoned.sum()) == 6
    assert bool((data.labels[poisoned] != 0).all())
    assert bool((labels[poisoned] == 0).all())
    clean_label = POISONERS.create("addsent", {"labels": "true"})
    _, labels, poisoned = _rows(data, clean_label, ratio=0.5)
    assert int(poisoned.sum()) == 3
    assert bool((data.labels[poisoned] == 0).all())
    assert torch.equal(labels, data.labels)
    check_poisoner(clean_label)


def test_texts_are_poisoned_beside_the_clean_ones_too() -> None:
    data = texts(*[f"a dog {chr(100 + i)}" for i in range(9)])
    inputs, labels, poisoned = _rows(data, POISONERS.create("word", {}), mode="append-all")
    assert len(inputs) == 15
    assert poisoned.tolist() == [False] * 9 + [True] * 6
    assert labels[9:].tolist() == [0] * 6


@pytest.mark.parametrize("settings", [{"place": "random"}, {"place": "start"}, {"sentence": "a person lives here ."}])
def test_settings_keep_the_contract(settings: dict[str, str]) -> None:
    check_poisoner(POISONERS.create("addsent", settings))


@pytest.mark.parametrize("name", list(UPLOADERS))
def test_every_upload_attack_plants_a_sentence(name: str) -> None:
    check_uploader(UPLOADERS.create(name), POISONERS.create("addsent"))


@pytest.mark.parametrize(("name", "info"), [("badnets", INFO), ("semantic", INFO), ("edge-case", INFO)])
def test_triggers_of_pictures_are_refused_on_texts(name: str, info: DataInfo) -> None:
    with pytest.raises(ConfigError, match=rf"attack.name = '{name}': is for vision inputs, two has texts; allowed with "
                                          r"texts: addsent, label-flip, none, word"):  # fmt: skip
        poison_set(POISONERS.create(name), texts("a"), info, PoisonSection(), seed=1)


@pytest.mark.parametrize("name", ["addsent", "word"])
def test_triggers_of_texts_are_refused_on_pictures(name: str) -> None:
    pictures = DataInfo("grey", ("a", "b"), (1, 8, 8), (0.5,), (0.5,))
    data = Labeled(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1]))
    with pytest.raises(ConfigError, match=rf"attack.name = '{name}': is for text inputs, grey has images; allowed"):
        poison_set(POISONERS.create(name), data, pictures, PoisonSection(), seed=1)


def test_what_is_measured_is_called_by_its_noun() -> None:
    assert POISONERS.create("addsent").measured_on(INFO) == "triggered texts"
    assert POISONERS.create("label-flip").measured_on(INFO) == "texts of the source class"
