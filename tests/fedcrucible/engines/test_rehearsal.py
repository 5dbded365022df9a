"""``fedcrucible rehearse`` with a real SuperLink and SuperNodes: several faults in one run, and the printed matrix."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedcrucible_core.records.reader import read
from fedcrucible_core.records.verification import verify

pytestmark = [pytest.mark.slow, pytest.mark.long]
FAULTS = "stale-key,duplicate:0,nan@1:1,server-kill@2"


def test_several_faults_in_one_run(fedcrucible, runs_folder: Path) -> None:
    asked = ("--nodes", "2", "--fault", FAULTS, "model.name=logistic", "federation.timeout_s=120", "output.name=real")
    done = fedcrucible("rehearse", *asked)
    assert done.exit_code == 0, done.output
    lines = done.stdout.split("\n")
    verdicts = [line.split("  lost: ") for line in lines if "  lost: " in line]
    assert [" ".join(row[0].split()) for row in verdicts] == [f"{name} as documented" for name in _named()]
    lost = [row[1] for row in verdicts]
    assert lost == ["nothing", "nothing", "1 reply (round 1)", "no aggregated round"]
    seen = " ".join(done.stdout.split())
    assert "sees: parameters hold 1 values that are not finite" in seen
    assert "sees: one reply counted in each of 3 rounds" in seen
    assert "into the round; resumed after round" in seen
    assert "the same replies in one process the same model" in seen
    assert "aggregated rounds lost none of 3" in seen
    assert "verdict as documented" in seen
    folder = runs_folder / "real"
    assert f"record  {folder}" in lines
    assert verify(folder).problems == ()
    assert [row.accepted for row in read(folder).rounds] == [(), (0,), (0, 1), (0, 1)]


def _named() -> list[str]:
    return ["stale-key:0", "duplicate:0", "nan@1:1", "server-kill@2"]
