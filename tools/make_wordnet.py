"""Write the topics of WordNet 3.0's nouns as short texts: documents "lemma: gloss", labelled by lexicographer file.

Documents are drawn by seed from all noun synsets of six lexicographer files, 2,000 a class.  Example sentences, which
stand in quotes behind a definition, are dropped; definitions of fewer than three words, or with quotes in them, are
passed over.  No word of a synset (all of its synonyms count) and no definition stands in two documents, so none stands
in two splits.  Documents are dealt out in turn by class, so every prefix of a split is class-balanced.

apt-get download wordnet-base && dpkg-deb -x wordnet-base_*.deb DIR
python -m tools.make_wordnet --dict DIR/usr/share/wordnet --out fedcrucible_assets/wordnet
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

TOPICS = {"18": "person", "05": "animal", "06": "artifact", "15": "location", "20": "plant", "13": "food"}
"""Number of the lexicographer file -> class, in label order; the first four are the classes of the smaller set."""
SPLIT_SIZES = {"train": 1150, "public": 250, "validation": 200, "test": 400}
"""Documents of each class by split."""
FEWEST_WORDS = 3
EXAMPLES = re.compile(r';\s*"')
"""Where the example sentences of a gloss begin."""


@dataclass(frozen=True)
class Synset:
    """One noun synset: its class, its words, and its gloss without examples."""

    topic: str
    words: tuple[str, ...]
    gloss: str


@dataclass(frozen=True)
class Document:
    """One line of the file that ships."""

    split: str
    topic: str
    lemma: str
    gloss: str


def read_synsets(lines: Iterable[str]) -> Iterator[Synset]:
    """The synsets of ``data.noun`` whose lexicographer file is one of ``TOPICS`` (format: wndb(5WN))."""
    for line in lines:
        if line.startswith("  "):  # the licence, at the top
            continue
        fields, _, gloss = line.partition(" | ")
        parts = fields.split(" ")
        topic = TOPICS.get(parts[1])
        if topic:
            count = int(parts[3], 16)
            words = tuple(word.replace("_", " ") for word in parts[4 : 4 + 2 * count : 2])
            yield Synset(topic, words, definition(gloss))


def definition(gloss: str) -> str:
    """A gloss without its example sentences; empty where quotes stand elsewhere than around them.

    >>> definition('a domestic cat; "the cat sat"; "a cat\\'s life"'), definition('a "wild" cat')
    ('a domestic cat', '')
    """
    found = EXAMPLES.split(gloss.strip(), maxsplit=1)[0].strip(" ;:,")
    return "" if '"' in found else found


def choose(synsets: Iterable[Synset], sizes: dict[str, int], seed: int) -> list[Document]:
    """Documents of all splits, drawn by seed; raises ValueError where a class has too few."""
    shuffled = list(synsets)
    random.Random(seed).shuffle(shuffled)
    per_class = sum(sizes.values())
    chosen: dict[str, list[Synset]] = {topic: [] for topic in TOPICS.values()}
    words: set[str] = set()
    glosses: set[str] = set()
    for synset in shuffled:
        own, gloss = {word.lower() for word in synset.words}, synset.gloss.lower()
        short = len(gloss.split()) < FEWEST_WORDS
        if short or own & words or gloss in glosses or len(chosen[synset.topic]) == per_class:
            continue
        chosen[synset.topic].append(synset)
        words |= own
        glosses.add(gloss)
    lacking = [topic for topic, found in chosen.items() if len(found) < per_class]
    if lacking:
        raise ValueError(f"fewer than {per_class} usable synsets of {', '.join(lacking)}")
    return list(_dealt(chosen, sizes))


def _dealt(chosen: dict[str, list[Synset]], sizes: dict[str, int]) -> Iterator[Document]:
    start = 0
    for split, size in sizes.items():
        for place in range(start, start + size):
            for topic, found in chosen.items():
                yield Document(split, topic, found[place].words[0], found[place].gloss)
        start += size


def write(documents: Iterable[Document], file: Path) -> None:
    """JSON lines, compressed; the same bytes for the same documents on one machine."""
    text = "".join(json.dumps(asdict(document), ensure_ascii=False) + "\n" for document in documents)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dict", type=Path, required=True, help="folder of WordNet's dictionary files (data.noun)")
    parser.add_argument("--out", type=Path, default=Path("fedcrucible_assets/wordnet"))
    parser.add_argument("--seed", type=int, default=2024)
    args = parser.parse_args()

    with (args.dict / "data.noun").open(encoding="utf-8") as lines:
        documents = choose(read_synsets(lines), SPLIT_SIZES, args.seed)
    file = args.out / "texts.jsonl.gz"
    write(documents, file)
    print(f"{file}: {len(documents)} documents, {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
