"""A source is one pair, several pairs, or words."""

from __future__ import annotations

import pytest

from fedcrucible_core.config.citation import Paper, cited


@pytest.mark.parametrize(
    ("paper", "pairs"),
    [
        ("control of our own", ()),
        ("", ()),
        (("blanchard2017", "section 4"), (("blanchard2017", "section 4"),)),
        (("he2016resnet", ""), (("he2016resnet", ""),)),
        ((("yin2018", "a"), ("sun2019", "")), (("yin2018", "a"), ("sun2019", ""))),
        ((("yin2018", "a"),), (("yin2018", "a"),)),
    ],
)
def test_cited_gives_pairs(paper: Paper, pairs: tuple[tuple[str, str], ...]) -> None:
    assert cited(paper) == pairs
