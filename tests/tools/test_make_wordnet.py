"""Documents from WordNet's files: what is read, what is passed over, how it is dealt out."""

import pytest

from tools.make_wordnet import TOPICS, Synset, choose, definition, read_synsets
from tools.train_wordpiece import SPECIAL, train

LINES = [
    "  1 This software and database is being provided to you\n",
    '02121620 05 n 02 cat 0 true_cat 0 001 @ 02120997 n 0000 | feline mammal with soft fur; "a cat purrs"; "cats"  \n',
    "00001740 03 n 01 entity 0 003 ~ 00001930 n 0000 | that which is perceived\n",
    "08633957 15 n 0a a 0 b 0 c 0 d 0 e 0 f 0 g 0 h 0 i 0 New_York 0 001 @ 1 n 0000 | a large American city\n",
]


def test_topics_are_read_and_examples_dropped() -> None:
    cat, place = read_synsets(LINES)
    assert cat == Synset("animal", ("cat", "true cat"), "feline mammal with soft fur")
    assert (place.topic, len(place.words), place.words[-1]) == ("location", 10, "New York"), "the count is hexadecimal"


@pytest.mark.parametrize(
    ("gloss", "left"),
    [
        ('a cat; "one"; "two"', "a cat"),
        ("a cat; a kind of feline", "a cat; a kind of feline"),
        ('a "wild" cat', ""),
        ('"a cat"', ""),
        ("", ""),
    ],
)
def test_definitions(gloss: str, left: str) -> None:
    assert definition(gloss) == left


def synsets(count: int) -> list[Synset]:
    """``count`` of each topic, each with a neighbour that shares a synonym or the definition, and one too short."""
    found = []
    for topic in TOPICS.values():
        for i in range(count):
            own = f"the {topic} of number {i}"
            found += [
                Synset(topic, (f"{topic} {i}", f"both {topic} {i}"), own),
                Synset(topic, (f"other {topic} {i}", f"Both {topic} {i}"), f"{own} again"),
                Synset(topic, (f"third {topic} {i}",), own.upper()),
                Synset(topic, (f"short {topic} {i}",), "two words"),
            ]
    return found


def test_documents_share_no_word_and_no_definition_and_are_dealt_out_in_turn() -> None:
    sizes = {"train": 3, "test": 2}
    documents = choose(synsets(5), sizes, seed=7)
    assert documents == choose(synsets(5), sizes, seed=7)
    assert documents != choose(synsets(5), sizes, seed=8)
    assert [d.split for d in documents] == ["train"] * 18 + ["test"] * 12
    assert [d.topic for d in documents] == list(TOPICS.values()) * 5
    assert len({d.gloss.lower() for d in documents}) == 30
    numbers = [d.lemma.lower().removeprefix("both ").removeprefix("other ") for d in documents]
    assert not any(d.lemma.startswith("short") for d in documents)
    assert len(set(numbers)) == 30


def test_too_few_synsets_are_named() -> None:
    with pytest.raises(ValueError, match="fewer than 9 usable synsets of person, animal"):
        choose(synsets(2), {"train": 9}, seed=1)


def test_a_vocabulary_is_the_same_every_time_and_knows_its_frame() -> None:
    texts = [f"the cat number {i} sat on mat {i % 7}, café" for i in range(60)]
    first, second = train(texts, 260), train(texts, 260)
    assert first.to_str() == second.to_str()
    assert [first.token_to_id(token) for token in SPECIAL] == [0, 1, 2, 3, 4]
    encoded = first.encode("The CAT sat")
    assert (encoded.tokens[0], encoded.tokens[-1]) == ("[CLS]", "[SEP]")
    assert first.decode(encoded.ids) == "the cat sat"
