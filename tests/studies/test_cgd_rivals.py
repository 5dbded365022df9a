"""The study of CGD's rivals names what exists."""

from __future__ import annotations

from defenses.base import REPAIRS, SPLITTERS
from studies.cgd_rivals import RIVALS


def test_every_rival_is_a_repair_behind_an_optional_splitter() -> None:
    for rival in RIVALS:
        repair, _, splitter = rival.partition(":")
        assert repair in REPAIRS
        assert not splitter or splitter in SPLITTERS
