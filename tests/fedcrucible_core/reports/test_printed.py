"""A paper's numbers beside ours."""

from __future__ import annotations

from fedcrucible_core.reports.statistics.printed import Printed, beside
from fedcrucible_core.reports.statistics.spread import spread


def test_numbers_that_are_shown_need_no_name() -> None:
    assert beside((Printed("MA", 81.5, "ma"), Printed("ASR", 2.771, "asr")), "ma", "asr") == "paper 81.50 / 2.77"


def test_others_stand_with_ours_and_their_names() -> None:
    drop = Printed("ACC drop", 3.14, "ma", drop=True, ours=spread([2.0, 3.0]))
    asr = Printed("ASR", "above 80", "asr")
    assert beside((drop, asr), "ma", "asr") == "ACC drop 2.50 (paper 3.14), ASR - (paper above 80)"


def test_what_a_paper_leaves_empty_is_left_out() -> None:
    assert beside((Printed("ACC", "", "ma"), Printed("ASR", 5.0, "asr")), "ma") == "ASR - (paper 5.00)"
    assert Printed("ACC", "", "ma").text() == "-"
    assert beside((), "ma", "asr") == ""
