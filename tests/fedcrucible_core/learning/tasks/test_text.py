"""The text task: token ids, room for triggers, words put into texts."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.sections import TrainingSection
from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.tasks import TextTask, task_of

INFO = DataInfo("two", ("a", "b"), (24,), (), (), task="text", tokenizer="wordnet", reserved=10)
SENTENCE = "I watched this 3D movie."
LONG = "a large dog that barks at every cat in the old town near the river and sleeps under a tree all day"


@pytest.fixture
def task() -> TextTask:
    found = task_of(INFO)
    assert isinstance(found, TextTask)
    return found


def rng(seed: int = 6) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def own(row: torch.Tensor) -> list[int]:
    """A text's own tokens, read one by one."""
    ids = [token for token in row.tolist() if token]
    return ids[1:-1]


def test_a_text_is_framed_cut_and_padded(task: TextTask) -> None:
    ids = task.encode(["a dog", LONG, ""])
    assert ids.shape == (3, 24)
    assert ids.dtype == torch.int64
    first, last = task.tokenizer.first, task.tokenizer.last
    assert ids[0].tolist() == [first, *task.tokenizer.ids("a dog"), last] + [0] * 20
    assert own(ids[1]) == task.tokenizer.ids(LONG)[:12], "24 - 2 - 10"
    assert own(ids[2]) == []


def test_texts_are_read_back(task: TextTask) -> None:
    texts = ["a dog's cafe!", "cat: purrs, always", "(spiny-backed) fish; 2/3"]
    assert task.decode(task.encode([text.upper() for text in texts])) == texts
    assert task.decode(task.encode(["café"])) == ["cafe"]
    assert task.decode(task.encode([])) == []


@given(st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40), min_size=1, max_size=4))
def test_what_is_read_back_has_the_same_ids(texts: list[str]) -> None:
    task = TextTask(INFO)
    ids = task.encode(texts)
    assert torch.equal(task.encode(task.decode(ids)), ids)


@given(st.lists(st.text(max_size=60), max_size=4))
def test_any_text_becomes_ids_without_padding_inside(texts: list[str]) -> None:
    task = TextTask(INFO)
    ids = task.encode(texts)
    assert ids.shape == (len(texts), 24)
    for row in ids:
        length = int((row != 0).sum())
        assert bool((row[:length] != 0).all()), "padding is at the end alone"
        assert not {task.tokenizer.first, task.tokenizer.last} & set(own(row)), "no text can hold the frame"


def test_words_that_would_be_cut_off_are_refused_by_key(task: TextTask) -> None:
    assert len(task.words(SENTENCE)) == 9
    tight = TextTask(replace(INFO, reserved=8))
    with pytest.raises(ConfigError, match="takes 9 tokens") as caught:
        tight.words(SENTENCE)
    assert caught.value.key == "task.reserved_tokens"


@pytest.mark.parametrize("text", ["", "a dog", LONG])
def test_words_at_the_end_survive_whatever_the_length(task: TextTask, text: str) -> None:
    ids, words = task.encode([text]), task.words(SENTENCE)
    before = ids.clone()
    made = task.insert(ids, words)
    assert own(made[0]) == own(ids[0]) + words.tolist()
    assert made[0, int((made[0] != 0).sum()) - 1] == task.tokenizer.last
    assert torch.equal(ids, before), "a new tensor"
    assert task.decode(made)[0].endswith("i watched this 3d movie.")


def test_words_at_the_start(task: TextTask) -> None:
    ids, words = task.encode(["a dog", LONG]), task.words("cf")
    for row, made in zip(ids, task.insert(ids, words, "start"), strict=True):
        assert own(made) == words.tolist() + own(row)


def test_words_at_a_random_place_part_no_word(task: TextTask) -> None:
    ids, words = task.encode(["unwatched barks " * 3]), task.words("cf")
    assert torch.equal(task.insert(ids, words, "random", rng()), task.insert(ids, words, "random", rng()))
    places = []
    for seed in range(300):
        before, found = ids[0], own(task.insert(ids, words, "random", rng(seed))[0])
        at = next(i for i in range(len(found)) if found[i : i + 2] == words.tolist())
        assert found[:at] + found[at + 2 :] == own(before), "nothing else changed"
        spelt = task.tokenizer.backend.id_to_token(found[at + 2]) if at + 2 < len(found) else ""
        assert not spelt.startswith("##")
        places.append(at)
    starts = [i for i, t in enumerate(own(ids[0])) if not task.tokenizer.backend.id_to_token(t).startswith("##")]
    counts = Counter(places)
    assert set(counts) == {*starts, len(own(ids[0]))}, "every word's start and the end occur"
    assert min(counts.values()) > 0.5 * 300 / len(counts), "about equally often"


def test_texts_have_random_places_of_their_own_whatever_is_beside_them(task: TextTask) -> None:
    ids, words = task.encode([f"a b d e g h i {chr(106 + i)}" for i in range(17)]), task.words("cf")
    together = task.insert(ids, words, "random", rng())
    assert torch.equal(task.insert(ids.flip(0), words, "random", rng()).flip(0), together)
    for row in range(len(ids)):
        assert torch.equal(task.insert(ids[row : row + 1], words, "random", rng()), together[row : row + 1])
    assert len({own(row).index(words.tolist()[0]) for row in together}) > 4


def test_a_random_place_needs_a_generator(task: TextTask) -> None:
    with pytest.raises(ValueError, match="generator"):
        task.insert(task.encode(["a"]), task.words("cf"), "random")


def test_a_full_text_loses_its_own_end_and_not_the_words(task: TextTask) -> None:
    words = task.words(SENTENCE)
    twice = task.insert(task.insert(task.encode([LONG]), words), words)
    assert own(twice[0])[-9:] == words.tolist()
    assert len(own(twice[0])) == 22
    with pytest.raises(ValueError, match="don't fit"):
        task.insert(twice, torch.ones(23, dtype=torch.int64))


def test_no_words_and_no_texts_change_nothing(task: TextTask) -> None:
    ids, none = task.encode([LONG, "a"]), torch.empty(0, dtype=torch.int64)
    for place in ("end", "start", "random"):
        assert torch.equal(task.insert(ids, none, place, rng()), ids)
        assert task.insert(ids[:0], task.words("cf"), place, rng()).shape == (0, 24)


def test_which_texts_hold_the_words(task: TextTask) -> None:
    words = task.words(SENTENCE)
    clean = task.encode(["a dog", LONG, ""])
    assert task.holds(clean, words).tolist() == [False] * 3
    assert task.holds(task.insert(clean, words, "random", rng()), words).all()
    assert task.holds(clean, torch.empty(0, dtype=torch.int64)).all(), "nothing is in every text"
    assert not task.holds(clean, torch.ones(25, dtype=torch.int64)).any()
    assert task.holds(task.encode(["He said: i Watched this 3d movie. Well"]), words).tolist() == [True]


def test_random_inputs_are_texts_of_ordinary_tokens(task: TextTask) -> None:
    ids = task.random_inputs(200, rng())
    assert ids.shape == (200, 24)
    assert torch.equal(ids, task.random_inputs(200, rng()))
    assert {len(own(row)) for row in ids} == {12}
    assert not task.tokenizer.special & {token for row in ids for token in own(row)}
    assert task.energy_bound is None


def test_texts_are_not_augmented(task: TextTask) -> None:
    task.check(TrainingSection())
    with pytest.raises(ConfigError, match=r"training\.augment"):
        task.check(TrainingSection(augment="crop-flip"))
