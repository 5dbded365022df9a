"""What a reader must know of a trigger stands in the record, whoever planted it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedcrucible_core.records.reader import read
from tests.support.tiny_runs import Scalar, play


@pytest.mark.parametrize("central", [False, True])
def test_a_deviation_is_told_in_a_federation_and_in_central_training(central: bool, runs_folder: Path) -> None:
    more: dict[str, Scalar] = {"strategy": "central", "poison__central": True} if central else {}
    summary, _ = play(attack__name="ctrl-luma", run__rounds=1, **more)
    notes = read(Path(summary.folder)).run.notes
    assert sum("deviation from CTRL" in note for note in notes) == 1
