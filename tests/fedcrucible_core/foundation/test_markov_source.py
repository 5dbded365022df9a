"""A chain over words: what follows what, no copies, and the same for the same seed."""

from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fedcrucible_core.config import ConfigError
from fedcrucible_core.foundation.generators.markov import MarkovChain
from fedcrucible_core.foundation.public_texts import class_texts
from fedcrucible_core.foundation.sources.markov import MarkovSource
from fedcrucible_core.learning.tasks.text import TextTask
from tests.support.text_task import TOPICS

CPU = torch.device("cpu")
TEXTS = ("the cat sat on the mat", "the cat ran on the road", "a dog sat on the road")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def pairs(text: str) -> set[tuple[str, str]]:
    words = text.split()
    return set(itertools.pairwise(words))


def test_every_word_has_followed_the_one_before_it() -> None:
    chain, known = MarkovChain(TEXTS, 0.3), set().union(*map(pairs, TEXTS))
    for seed in range(200):
        drawn = chain.draw(rng(seed))
        assert drawn
        assert pairs(drawn) <= known
        assert drawn.split()[0] in ("the", "a")


def test_without_backoff_every_word_has_followed_the_two_before_it() -> None:
    def triples(text: str) -> set[tuple[str, ...]]:
        words = text.split()
        return set(zip(words, words[1:], words[2:], strict=False))

    chain, known = MarkovChain(TEXTS, 0.0), set().union(*map(triples, TEXTS))
    assert all(triples(chain.draw(rng(seed))) <= known for seed in range(200))


def test_words_follow_as_often_as_in_the_texts() -> None:
    """Against a plain count: P(next) = (1 - b) P(next | two before) + b P(next | one before)."""
    texts, backoff = ["x a p", "x a p", "x a q", "y a q"], 0.4
    after_two: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    after_one: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for text in texts:
        before, last, following = text.split()
        after_two[before, last][following] += 1
        after_one[last][following] += 1
    expected = 0.6 * after_two["x", "a"]["p"] / 3 + 0.4 * after_one["a"]["p"] / 4
    chain, generator = MarkovChain(texts, backoff), rng(1)
    drawn = [chain.draw(generator).split() for _ in range(20_000)]
    of_x = [words[2] for words in drawn if words[0] == "x" and words[1] == "a" and len(words) > 2]
    assert sum(word == "p" for word in of_x) / len(of_x) == pytest.approx(expected, abs=0.015)


def test_no_text_is_longer_than_the_longest_source() -> None:
    chain = MarkovChain(["a a a a a", "a"], 1.0)
    assert max(len(chain.draw(rng(seed)).split()) for seed in range(300)) == 5


@pytest.mark.parametrize("texts", [[], [""], ["  ", ""]])
def test_a_chain_needs_a_word(texts: list[str]) -> None:
    with pytest.raises(ValueError, match="at least one text"):
        MarkovChain(texts, 0.3)


def test_one_word_is_a_text() -> None:
    assert MarkovChain(["word"], 0.3).draw(rng()) == "word"


def test_texts_of_every_class_without_copies() -> None:
    samples = MarkovSource().generate(TOPICS, 50, 1, CPU)
    assert samples.data.inputs.shape == (200, 32)
    assert samples.data.labels.tolist() == [0, 1, 2, 3] * 50
    assert samples.facts["markov.copies"] == 0
    assert samples.facts["markov.copies_avoided"] > 0
    sources = {text for texts in class_texts(TOPICS, "", "key") for text in texts}
    task = TextTask(TOPICS)
    kept = {tuple(row) for row in task.encode(sorted(sources)).tolist()}
    assert sum(tuple(row) in kept for row in samples.data.inputs.tolist()) <= 2, "but for what is cut off"
    assert len({tuple(row) for row in samples.data.inputs.tolist()}) >= 198


def test_the_same_seed_draws_the_same_and_more_texts_begin_with_fewer() -> None:
    few, many = (MarkovSource().generate(TOPICS, count, 3, CPU) for count in (5, 9))
    assert torch.equal(few.data.inputs, many.data.inputs[:20])
    assert torch.equal(few.data.inputs, MarkovSource().generate(TOPICS, 5, 3, CPU).data.inputs)
    assert not torch.equal(few.data.inputs, MarkovSource().generate(TOPICS, 5, 4, CPU).data.inputs)


def test_where_only_copies_come_they_are_kept_and_counted(tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    file.write_text("".join(json.dumps({"text": f"one {name}", "label": name}) + "\n" for name in TOPICS.class_names))
    samples = MarkovSource(path=str(file)).generate(TOPICS, 2, 1, CPU)
    assert samples.facts["markov.copies"] == 8
    assert TextTask(TOPICS).decode(samples.data.inputs)[:2] == ["one person", "one animal"]


def test_other_sources_give_other_cache_keys(tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    file.write_text('{"text": "a", "label": "person"}\n')
    first = MarkovSource(path=str(file)).fingerprint()
    file.write_text('{"text": "b c", "label": "person"}\n')
    assert len({first, MarkovSource(path=str(file)).fingerprint(), MarkovSource().fingerprint()}) == 3


def test_without_public_texts_it_is_refused_by_its_key() -> None:
    with pytest.raises(ConfigError, match="no public texts ship with my-own") as caught:
        MarkovSource().check(replace(TOPICS, name="my-own"), 1)
    assert caught.value.key == "synthetic.markov.path"
