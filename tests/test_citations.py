"""Everything that is cited ships: references by key, choices by heading, no document that a reader doesn't have."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from fedcrucible.catalogue import KINDS, Entry, entries
from fedcrucible.papers.choices import choices
from fedcrucible.papers.references import references
from fedcrucible_core.config.citation import cited
from fedcrucible_core.config.load import default_keys
from fedcrucible_core.rooms import ROOT

DOI = re.compile(r"10\.\d{4,9}/[\w.()/:;-]+")
ARXIV = re.compile(r"\d{2}(0[1-9]|1[0-2])\.\d{4,5}")
NOT_SHIPPED = {
    "a document by name": re.compile(
        r"\b(SPEC|SUPPLEMENT|ANCHORS|HOUSE|FEASIBILITY|OPERATIONS|CONTAINERS)\b|\b(DESIGN|FLOWER)\.md\b"
    ),
    "a document in words": re.compile(r"\b(the|project's)[ _]specification\b", re.IGNORECASE),
    "a section by letter": re.compile(r"(?<![\w.])[A-F]\.\d{1,2}(?![\w.]*\w)"),
}
"""What can't be looked up: the words of plans and notes that are in no checkout."""
KEY_LIKE = re.compile(r"\b[a-z]{2,15}(?:19[2-9]\d|20[0-3]\d)[a-z]*\b")
"""``blanchard2017``; words of this form are keys, but for those below."""
NO_KEY = {"pub2015", "fer2013"}
ANCHOR = re.compile(r"choices\.md#([a-z0-9-]+)")


@cache
def _texts() -> dict[str, str]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a checkout: no list of its files")
    found = {}
    for name in sorted(filter(None, listed.stdout.split("\0"))):
        path = ROOT / name
        if not path.is_file() or path == Path(__file__):
            continue
        content = path.read_bytes()
        if b"\0" not in content:
            found[name] = content.decode("utf-8", errors="replace")
    assert "README.md" in found
    return found


def _hits(pattern: re.Pattern[str]) -> Iterator[tuple[str, re.Match[str]]]:
    """Each match with its place, ``file:line``."""
    for name, text in _texts().items():
        for number, line in enumerate(text.split("\n"), start=1):
            for match in pattern.finditer(line):
                yield f"{name}:{number}", match


@cache
def _entries() -> tuple[Entry, ...]:
    return tuple(entry for kind in KINDS for entry in entries(kind))


@pytest.mark.parametrize("what", NOT_SHIPPED)
def test_nothing_cites_a_document_that_does_not_ship(what: str) -> None:
    assert [f"{place}: {match[0]}" for place, match in _hits(NOT_SHIPPED[what])] == []


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("a document by name", "as in SPEC E.8"),
        ("a document by name", "(SPEC 0)"),
        ("a document by name", "see DESIGN.md"),
        ("a document in words", "numbers of the specification"),
        ("a document in words", "def test_numbers_of_the_specification("),
        ("a section by letter", "E.8"),
        ("a section by letter", "(B.6)."),
        ("a section by letter", "noise of A.6, visible"),
    ],
)
def test_such_citations_are_seen(what: str, text: str) -> None:
    pattern = NOT_SHIPPED[what]
    text = text.replace("_the_specification", " the_specification") if what == "a document in words" else text
    assert pattern.search(text)


@pytest.mark.parametrize("text", ["SPECIFICATION", "MODEL_SPEC", "v1.E.8x", "SECURITY.md", "F.relu", "C.10.1"])
def test_other_words_are_not_taken_for_citations(text: str) -> None:
    assert not any(pattern.search(text) for pattern in NOT_SHIPPED.values())


def test_components_cite_references_that_are_listed() -> None:
    wrong = [(entry.name, key) for entry in _entries() for key, _ in cited(entry.paper) if key not in references()]
    assert wrong == []


def test_components_name_choices_that_are_listed() -> None:
    wrong = [(entry.name, name) for entry in _entries() for name in entry.choices if name not in choices()]
    assert wrong == []


def test_a_source_is_words_or_well_formed_pairs() -> None:
    for entry in _entries():
        for pair in cited(entry.paper):
            assert len(pair) == 2, entry.name
            assert all(isinstance(part, str) for part in pair), f"{entry.name}: a pair is (key, place), got {pair}"
        assert len(set(entry.choices)) == len(entry.choices), f"{entry.name}: a choice is named twice"
        assert isinstance(entry.choices, tuple), f"{entry.name}: choices is a tuple, with a comma after a single one"


def test_options_of_choices_are_settings() -> None:
    """``section.name.key``, then ``.key`` of the same component, ``section.*``, or a component in brackets."""
    keys = set(default_keys())
    wrong = []
    for choice in choices().values():
        before = ""
        for name in re.findall(r"`([a-z.][\w.*-]*\.[\w.*-]+|\.\w+)`", choice.option):
            key = before + name if name.startswith(".") else name
            before = key.rpartition(".")[0]
            section = key.removesuffix("*")
            known = any(one.startswith(section) for one in keys) if section != key else key in keys
            if not (known or key.startswith("compare.")):
                wrong.append((choice.anchor, key))
    assert wrong == []


def test_keys_and_headings_in_texts_are_listed() -> None:
    keys = [f"{place}: {m[0]}" for place, m in _hits(KEY_LIKE) if m[0] not in references() and m[0] not in NO_KEY]
    anchors = [f"{place}: {match[1]}" for place, match in _hits(ANCHOR) if match[1] not in choices()]
    assert keys == []
    assert anchors == []


def test_every_reference_can_be_found_or_says_that_it_is_unverified() -> None:
    for key, one in references().items():
        assert one.link or not one.verified, f"{key}: no DOI, arXiv number or URL"
        assert one.verified or one.note, f"{key}: unverified, and no note says which field"


def test_fields_of_references_have_their_form() -> None:
    for key, one in references().items():
        assert all((one.authors, one.title, one.venue)), key
        assert all(author == author.strip() and author for author in one.authors), key
        assert not one.doi or DOI.fullmatch(one.doi), f"{key}: {one.doi}"
        assert not one.arxiv or ARXIV.fullmatch(one.arxiv), f"{key}: {one.arxiv}"
        assert not one.url or re.fullmatch(r"https?://\S+", one.url), f"{key}: {one.url}"
        assert str(one.year) in key, f"{key} is of {one.year}"
        assert one.arxiv == "" or 2000 + int(one.arxiv[:2]) <= one.year + 1, (
            f"{key}: {one.arxiv} is later than {one.year}"
        )


def test_no_publication_is_listed_twice() -> None:
    for field in ("doi", "arxiv", "url", "title"):
        values = [value.lower() for one in references().values() if (value := getattr(one, field))]
        assert sorted(set(values)) == sorted(values), field
