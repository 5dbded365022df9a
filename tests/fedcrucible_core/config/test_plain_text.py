"""Text from outside is one visible line, whatever it was."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcrucible_core.config.plain_text import plain_text


class _Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("given_text", "shown"),
    [
        ("plain", "plain"),
        ("two\nlines\tand  more", "two lines and more"),
        ("\x1b[31mred\x1b[0m", "\ufffd[31mred\ufffd[0m"),
        ("abc\u202ecba", "abc\ufffdcba"),
        ("a\u200bb\u2066c", "a\ufffdb\ufffdc"),
        ("lone \ud800", "lone \ufffd"),
        ("line\u2028line", "line line"),
        ("naïve 猫", "naïve 猫"),
        (_Unspeakable(), "<_Unspeakable that can't be shown>"),
        (3.5, "3.5"),
    ],
)
def test_what_is_shown(given_text: object, shown: str) -> None:
    assert plain_text(given_text) == shown


def test_length_is_bounded() -> None:
    assert len(plain_text("x" * 10_000_000, 50)) == 50
    assert plain_text("x" * 60, 50).endswith("...")


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_nothing_unseen_is_left(text: str) -> None:
    shown = plain_text(text)
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in shown)
    shown.encode()
