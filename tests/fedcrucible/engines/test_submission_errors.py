"""What a run's operator reads when the SuperLink has gone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fedcrucible.engines.flower import submission as module
from fedcrucible.engines.flower.command import FlowerRunError
from fedcrucible.engines.flower.submission import Submission


def test_a_superlink_that_died_is_told_with_the_way_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "Using SuperLink: private (127.0.0.1:41300)\n Displaying information for run ID 7...\nIt is unavailable."
    answer = json.dumps({"success": False, "error-message": said})
    monkeypatch.setattr(module, "flwr", lambda *_, **__: f"noise {answer}")
    with pytest.raises(FlowerRunError) as caught:
        Submission(tmp_path / "app", {})._require_success("7", [])
    first, second = str(caught.value).split("\n")
    assert first == "the SuperLink tells nothing about run 7: It is unavailable."
    assert "run.resume=true" in second
