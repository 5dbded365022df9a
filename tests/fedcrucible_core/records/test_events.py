"""events.jsonl: a chain that any change breaks, and a torn last line that is no change."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fedcrucible_core.records.events import GENESIS, EventWriter, read_chain


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "events.jsonl"
    writer = EventWriter(path)
    for number in range(4):
        writer.append("round", {"round": number})
    return path


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines()


def rewritten(path: Path, content: list[bytes]) -> str:
    path.write_bytes(b"".join(line + b"\n" for line in content))
    return read_chain(path).fault


def test_each_line_names_the_hash_of_the_line_before(path: Path) -> None:
    found = [json.loads(line) for line in lines(path)]

    assert [row["number"] for row in found] == [0, 1, 2, 3]
    assert [row["previous"] for row in found] == [GENESIS, *(row["sha256"] for row in found[:-1])]
    chain = read_chain(path)
    assert (chain.fault, chain.torn, chain.head) == ("", False, found[-1]["sha256"])
    assert [event.facts["round"] for event in chain.events] == [0, 1, 2, 3]


def test_no_file_is_an_empty_chain(tmp_path: Path) -> None:
    assert read_chain(tmp_path / "none").head == GENESIS


@pytest.mark.parametrize("place", range(4))
def test_the_first_changed_line_is_named(path: Path, place: int) -> None:
    content = lines(path)
    content[place] = content[place].replace(b'"round":%d' % place, b'"round":9')

    assert rewritten(path, content) == f"line {place + 1} was changed: its SHA-256 is another one"


def test_lines_removed_added_moved_or_doubled_are_named(path: Path) -> None:
    first, second, third, fourth = lines(path)

    for content, place in (
        ([first, third, fourth], 2),
        ([second, third, fourth], 1),
        ([first, third, second, fourth], 2),
        ([first, second, second, third], 3),
    ):
        assert rewritten(path, content).startswith(f"line {place} doesn't follow the line before it")
    for junk in (b"", b"{}", b"\xff\x00", b"[" * 100_000):
        assert rewritten(path, [first, junk, second]).startswith("line 2 is no event")


def test_a_line_with_a_fresh_hash_breaks_the_line_after_it(path: Path) -> None:
    content = lines(path)
    forger = EventWriter(path.with_name("forged"))
    for number in (0, 9):
        forger.append("round", {"round": number})
    content[1] = lines(forger.path)[1]

    assert rewritten(path, content).startswith("line 2 doesn't follow")


@pytest.mark.parametrize("left", [1, 40, -1])
def test_a_torn_last_line_is_no_broken_one_and_the_next_writer_cuts_it_off(path: Path, left: int) -> None:
    whole, last = path.read_bytes(), read_chain(path).head
    torn = EventWriter(path.with_name("next"))
    torn.append("round", {"round": 4})
    path.write_bytes(whole + lines(torn.path)[0][:left])

    chain = read_chain(path)
    assert (chain.fault, chain.torn, chain.head, chain.lines) == ("", True, last, 4)

    writer = EventWriter(path)
    assert writer.before.torn
    writer.append("resume", {})
    assert path.read_bytes().startswith(whole)
    assert (read_chain(path).fault, read_chain(path).torn, read_chain(path).lines) == ("", False, 5)


def test_a_writer_goes_on_behind_a_broken_line_which_stays_the_first_broken_one(path: Path) -> None:
    content = lines(path)
    content[1] = content[1].replace(b"round", b"dnuor", 1)
    rewritten(path, content)

    writer = EventWriter(path)
    writer.append("resume", {})

    assert len(lines(path)) == 5
    assert read_chain(path).fault.startswith("line 2 was changed")


def test_a_hostile_text_is_one_plain_short_line(path: Path) -> None:
    said = "a\nb\x1b[2J\u202e" + "x" * 10_000
    EventWriter(path).append("note", {"text": said, said: [said], "rate": float("nan")})

    facts = read_chain(path).events[-1].facts
    assert facts["rate"] == "nan"
    assert len(lines(path)[-1]) < 10_000
    for text in (facts["text"], *(key for key in facts if len(key) > 10)):
        assert text.isprintable()
        assert len(text) <= 2000
